"""Risky acts ask for the password once more when the sign-in is no longer fresh, and copies of a cookie do not become fresh with it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account.models import AccessToken, Contact, UserSession
from portal.database import db, transaction
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
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
    answer = alice.post("/account/security/tokens", data=form, headers=headers)
    assert (answer.status_code, answer.location) == (302, "/account/verify?next=/account/security/")
    assert count(app, AccessToken) == 1
    page = alice.get(answer.location)
    assert "Nothing was changed yet" in text_of(page)
    confirmed = alice.post(answer.location, data={"csrf_token": csrf_token(page.text), "password": PASSWORD, "next": SECURITY})
    assert (confirmed.status_code, confirmed.location) == (302, SECURITY)
    assert alice.post("/account/security/tokens", data=form, headers=headers).status_code == 200
    assert count(app, AccessToken) == 2


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
