"""Risky acts ask for the password once more when the sign-in is no longer fresh, and copies of a cookie do not become fresh with it."""

from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from io import BytesIO

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account.models import AccessToken, Contact, UserSession
from portal.config import Settings
from portal.database import db, transaction
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.web.account.factors import code_of, give_authenticator, give_recovery_codes, told
from tests.web.account.pages import send, text_of, try_password

SignIn = Callable[[str], FlaskClient]
SECURITY = "/account/security/"
ALICE, ANTON = "alice@logistics.example.org", "anton@vendor.example.org"
# Endpoints that ask for a fresh sign-in. Whoever adds a risky one marks it, and names it here.
RISKY = {
    "account.create_token", "account.create_feed", "account.end_session", "account.end_other_sessions", "account.end_all_sessions",
    "contracts.name_contact", "contracts.replace_contact", "contracts_staff.act", "contracts_staff.new",
    "contract_files_staff.bring_in", "contracts_staff.name_contact",
    "contracts_staff.replace_contact", "contracts_staff.correct_address", "contracts_staff.release_contact",
    "email_changes.ask", "releases_staff.publish", "releases_staff.withdraw", "schedule_staff.schedule", "announcements_staff.send",
    "products_staff.new", "products_staff.edit", "beta_staff.publish_terms",
    "addresses_staff.correct",
}  # fmt: skip


def grow_stale(app: Flask, minutes: int = 31) -> None:
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(UserSession).values(confirmed_at=clock.now() - timedelta(minutes=minutes)))
        db.session.remove()


def count(app: Flask, model: type) -> int:
    with app.app_context():
        found = db.session.scalar(sa.select(sa.func.count()).select_from(model)) or 0
        db.session.remove()
    return found


def seat_of(app: Flask, email: str) -> str:
    with app.app_context():
        found = db.session.scalars(sa.select(Contact.id).join(Contact.user).where(Contact.user.has(email=email))).first()
        db.session.remove()
    return str(found)


def test_the_risky_acts_are_marked(app: Flask) -> None:
    marked = {endpoint for endpoint, view in app.view_functions.items() if getattr(view, "needs_fresh_sign_in", False)}
    assert marked >= RISKY


def test_a_token_is_made_only_after_the_password_was_confirmed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, seat = sign_in(cast.alice), seat_of(app, cast.alice)
    grow_stale(app, 29)
    token = csrf_token(alice.get(SECURITY).text)
    form = {"csrf_token": token, "label": "build server", "contact_id": seat}
    headers = {"Referer": f"http://localhost{SECURITY}"}
    assert alice.post("/account/security/tokens", data=form, headers=headers).status_code == 200
    grow_stale(app)
    asked = alice.post("/account/security/tokens", data=form, headers=headers)
    assert "Nothing was changed yet" in text_of(asked)
    assert count(app, AccessToken) == 1
    confirmed = submit(alice, asked, "verify_form", password=PASSWORD)
    assert count(app, AccessToken) == 1
    assert "build server" in submit(alice, confirmed, "kept_form").text
    assert count(app, AccessToken) == 2


def test_what_was_typed_outlives_a_wrong_password_and_comes_back_as_it_was(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    new = "/staff/contracts/new"
    typed = {
        "csrf_token": csrf_token(anton.get(new).text), "number": 'C-"99"', "organization": "Größe & Söhne <Example>",
        "name1": "  Ada\n&amp; ", "starts_on": "not yet", "other_domain": "y",
    }  # fmt: skip
    grow_stale(app)
    page = submit(anton, anton.post(f"{new}?from=list", data=typed), "verify_form", password="wrong wrong wrong")
    page = submit(anton, page, "verify_form", password=PASSWORD)
    sent = fields_of(page, "kept_form")
    assert sent.pop("csrf_token") != ""
    assert sent == {name: value for name, value in typed.items() if name != "csrf_token"}
    assert f'action="{new}?from=list"' in page.text
    answer = submit(anton, page, "kept_form")
    assert "no date we can read" in answer.text
    assert fields_of(answer, None)["organization"] == typed["organization"]


def test_what_was_typed_is_sent_nowhere_but_to_this_site(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    nowhere = (
        '{"to": "https://evil.example.net/", "page": "/", "fields": []}',
        '{"to": "//evil.example.net", "page": "/", "fields": []}',
        '{"to": "/", "page": "javascript:x", "fields": []}',
        '{"to": 1, "page": "/", "fields": []}',
        "[]",
        "{",
    )
    for kept in nowhere:
        assert send(alice, "/account/verify", password=PASSWORD, kept=kept).location == SECURITY


def test_a_file_has_to_be_chosen_again_and_the_page_says_so(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    anton = sign_in(cast.anton)
    token = csrf_token(anton.get("/staff/contracts/import").text)
    grow_stale(app)
    form = {"csrf_token": token, "no_invitations": "y", "file": (BytesIO(b"number"), "contracts.csv")}
    page = anton.post("/staff/contracts/import", data=form)
    assert "Only the file has to be chosen again" in text_of(page)
    assert "the page asks for it again" in text_of(submit(anton, page, "verify_form", password=PASSWORD))


def test_somebody_with_a_second_factor_confirms_by_both(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, secret = sign_in(cast.alice), give_authenticator(app, cast.alice)
    code = give_recovery_codes(app, cast.alice)[0]

    def confirm(**form: str) -> TestResponse:
        grow_stale(app)
        return submit(alice, alice.get("/account/verify?next=/account/email/"), "verify_form", **form)

    assert "Enter a code, too" in text_of(confirm(password=PASSWORD))
    assert "not your password" in text_of(confirm(password="wrong wrong wrong", code=code_of(secret)))
    assert "does not match" in text_of(confirm(password=PASSWORD, code="000000"))
    assert alice.get("/account/email/").status_code == 302
    assert confirm(password=PASSWORD, code=code_of(secret)).location == "/account/email/"
    assert alice.get("/account/email/").status_code == 200
    assert "used before" in text_of(confirm(password=PASSWORD, code=code_of(secret)))
    assert confirm(password=PASSWORD, code=code).location == "/account/email/"


def test_wrong_codes_at_confirming_lock_codes_as_they_do_at_sign_in(app: Flask, cast: Cast, sign_in: SignIn, settings: Settings) -> None:
    alice, secret = sign_in(cast.alice), give_authenticator(app, cast.alice)
    for _ in range(settings.sign_in_failures):
        page = send(alice, "/account/verify", password=PASSWORD, code="000000")
    assert "No code is taken now" in text_of(page)
    assert send(alice, "/account/verify", password=PASSWORD, code=code_of(secret)).status_code == 200
    assert told(app)[-1] == "Wrong codes were entered for your account"


def fields_of(page: TestResponse, form: str | None) -> dict[str, str]:
    """What the inputs of a page's form hold, by name, as a browser reads them; None: of all its forms."""
    found = Inputs(form)
    found.feed(page.get_data(as_text=True))
    return found.values


class Inputs(HTMLParser):
    def __init__(self, form: str | None) -> None:
        super().__init__()
        self.form, self.inside, self.action, self.values = form, form is None, "", dict[str, str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is not None:
            self.inside = given.get("name") == self.form
            self.action = given.get("action", "") if self.inside else self.action
        elif tag == "input" and self.inside and "name" in given:
            self.values[given["name"]] = given.get("value", "")


def submit(client: FlaskClient, page: TestResponse, form: str, **typed: str) -> TestResponse:
    """Send a page's form as a browser does, with what was typed."""
    found = Inputs(form)
    found.feed(page.get_data(as_text=True))
    assert found.values, f"the page has no {form}"
    return client.post(found.action, data=found.values | typed)


def test_a_wrong_password_does_not_make_it_fresh(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    grow_stale(app)
    send(alice, "/account/verify", password="wrong wrong wrong")
    assert alice.get("/account/email/").location == "/account/verify?next=/account/email/"


def test_a_copied_cookie_stays_stale_and_dies_when_its_original_is_confirmed(
    app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient
) -> None:
    alice = sign_in(cast.alice)
    cookie = alice.get_cookie("portal")
    assert cookie is not None
    client.set_cookie("portal", cookie.value)
    grow_stale(app)
    send(alice, "/account/verify", password=PASSWORD)
    assert alice.get("/account/email/").status_code == 200
    assert client.get("/account/").location.startswith("/sign-in")


def test_another_session_of_the_same_person_stays_stale(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    here, there = sign_in(cast.alice), sign_in(cast.alice)
    grow_stale(app)
    send(here, "/account/verify", password=PASSWORD)
    assert here.get("/account/email/").status_code == 200
    assert there.get("/account/email/").status_code == 302


def test_a_clock_that_is_set_back_does_not_keep_a_session_fresh(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    grow_stale(app, -120)
    assert alice.get("/account/email/").status_code == 302


@pytest.mark.parametrize(
    ("referer", "leads_to"),
    [
        ("http://localhost/account/contracts/", "/account/contracts/"),
        ("https://evil.example.net/", SECURITY),
        ("http://localhost.evil.example.net/", SECURITY),
        ("http://localhost//evil.example.net/", "/"),
        ("", SECURITY),
    ],
)
def test_the_way_back_stays_on_this_site(app: Flask, cast: Cast, sign_in: SignIn, referer: str, leads_to: str) -> None:
    alice = sign_in(cast.alice)
    token = csrf_token(alice.get(SECURITY).text)
    grow_stale(app)
    answer = alice.post("/account/security/sessions/end-others", data={"csrf_token": token}, headers={"Referer": referer})
    assert answer.location == f"/account/verify?next={leads_to}"


def test_all_devices_can_be_signed_out_this_one_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    here, there = sign_in(cast.alice), sign_in(cast.alice)
    answer = send(here, "/account/security/sessions/end-all", SECURITY)
    assert answer.location == "/sign-in"
    assert here.get("/account/").status_code == 302
    assert there.get("/account/").status_code == 302
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302
