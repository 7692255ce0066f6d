"""The public form for release notices: one answer for everybody, whoever the address belongs to."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account.models import User
from portal.app import create_app
from portal.database import db, transaction
from portal.notices import subscriptions, suppression
from portal.notices.models import Delivery, Notice, Subscription, SubscriptionRequest, Topic
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases.stable_access import decide_download
from tests.cast import Cast, assemble
from tests.conftest import csrf_token, make_settings
from tests.statements import statements
from tests.web.account.pages import change_user, link_in_newest, mails, read_user, text_of, try_password

SignIn = Callable[[str], FlaskClient]
FORM = "/releases/macro-studio/subscribe"
KIND = "confirm_subscription"


def subscribe(client: FlaskClient, email: str, **fields: str) -> TestResponse:
    token = csrf_token(client.get(FORM).text)
    return client.post(FORM, data={"csrf_token": token, "email": email, **(fields or {"minor": "y", "major": "y"})})


def wanted(app: Flask, email: str) -> set[Topic]:
    with app.app_context():
        found = set(
            db.session.scalars(
                sa.select(Subscription.topic)
                .join(User, User.id == Subscription.user_id)
                .where(User.email == email, Subscription.wanted.is_(True))
            )
        )
        db.session.remove()
    return found


def test_a_stranger_subscribes_by_the_click_in_the_mail(app: Flask, cast: Cast, client: FlaskClient) -> None:
    page = client.get("/releases/macro-studio/")
    assert FORM in page.text
    form = client.get(FORM)
    assert form.text.count(" checked") == 2
    answer = subscribe(client, "New.Person@Example.org", name="Nora Example", minor="y", major="y")
    assert answer.status_code == 200
    assert "We sent a mail to new.person@example.org" in text_of(answer)
    person = read_user(app, "new.person@example.org")
    assert (person.provisional, person.password, person.organization_id, person.name) == (True, None, None, "Nora Example")
    assert wanted(app, person.email) == set()
    assert mails(app) == [(KIND, "new.person@example.org")]
    assert client.post(link_in_newest(app, KIND, "confirm_url")).status_code == 200
    assert wanted(app, person.email) == {Topic.MINOR, Topic.MAJOR}
    assert not read_user(app, person.email).provisional


def test_the_pages_after_the_click_read_the_same_to_a_stranger_and_to_a_customer(app: Flask, cast: Cast, client: FlaskClient) -> None:
    stranger = "new.person@example.org"

    def read(address: str) -> list[str]:
        subscribe(client, address)
        link = link_in_newest(app, KIND, "confirm_url")
        asked, done = client.get(link), client.post(link)
        choices = client.get(re.findall(r"/notices/preferences/[\w.-]+", done.text)[0])
        pages = [text_of(page).replace(address, "ADDRESS") for page in (asked, done, choices)]
        return [re.sub(r"\d\d:\d\d", "TIME", page) for page in pages]

    pages = read(stranger)
    assert pages == read(cast.erin)
    assert "You have an account? Sign in to see all products" in pages[2]
    assert "what you bought" not in pages[2]


def test_one_topic_can_be_left_out_but_not_both(app: Flask, cast: Cast, client: FlaskClient) -> None:
    assert "We sent a mail" in text_of(subscribe(client, "new@example.org", major="y"))
    client.post(link_in_newest(app, KIND, "confirm_url"))
    assert wanted(app, "new@example.org") == {Topic.MAJOR}
    answer = subscribe(client, "other@example.org", name="Ole")
    assert "Choose minor releases, major releases or both." in text_of(answer)
    assert 'value="other@example.org"' in answer.text
    assert 'value="Ole"' in answer.text


@pytest.mark.parametrize(
    ("email", "text"),
    [
        ("", "Enter your email address."),
        ("new@example.org\r\nBcc: all@example.net", "line breaks"),
        ("new@example.org\x00", "control characters"),
        ('"new person"@example.org', "no email address"),
        ("Nora <new@example.org>", "no email address"),
        ("new@example.org, other@example.org", "no email address"),
        ("new", "no email address"),
        ("\u0430lice@logistics.example.org", "alphabets"),
        ("alice@logistic\u0455.example.org", "alphabets"),
        ("a" * 65 + "@example.org", "no email address"),
        ("a@" + "b" * 300 + ".example.org", "254"),
        ("new\u202e@example.org", "control characters"),
    ],
)
def test_an_address_that_is_none_is_explained_and_nothing_is_sent(
    app: Flask, cast: Cast, client: FlaskClient, email: str, text: str
) -> None:
    answer = subscribe(client, email, name="Nora Example", minor="y")
    assert answer.status_code == 400
    assert text in text_of(answer)
    assert 'value="Nora Example"' in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert mails(app) == []


def test_a_name_with_line_breaks_is_refused(app: Flask, cast: Cast, client: FlaskClient) -> None:
    answer = subscribe(client, "new@example.org", name="Nora\nBcc: all@example.net", minor="y")
    assert "line breaks" in text_of(answer)
    assert mails(app) == []


def prepare(app: Flask, cast: Cast) -> dict[str, str]:
    """Everything an address can be, by what it is."""
    change_user(app, cast.dave, active=False)
    with app.app_context():
        with transaction() as session:
            product = find_product(cast.product)
            ids = dict(session.execute(sa.select(User.email, User.id)).all())
            suppression.add(cast.carol, "550 no such mailbox", now=clock.now())
            for topic in (Topic.MINOR, Topic.MAJOR):
                subscriptions.choose(ids[cast.bob], product.id, topic, wanted=True, now=clock.now())
                subscriptions.choose(ids[cast.frank], product.id, topic, wanted=False, now=clock.now())
        db.session.remove()
    return {
        "unknown": "nobody@example.org", "contact": cast.alice, "customer": cast.erin, "staff": cast.petra, "closed": cast.dave,
        "suppressed": cast.carol, "subscribed": cast.bob, "said no": cast.frank,
    }  # fmt: skip


def test_bytes_headers_and_statements_are_the_same_for_every_address(app: Flask, cast: Cast) -> None:
    who = prepare(app, cast)
    for _ in range(3):  # enough for today
        subscribe(app.test_client(), "often@example.org")
    who["mailed enough"] = "often@example.org"
    seen: dict[str, tuple[object, ...]] = {}
    for what, email in who.items():
        client = app.test_client()
        token = csrf_token(client.get(FORM).text)
        with statements(app) as run:
            answer = client.post(FORM, data={"csrf_token": token, "email": email, "minor": "y", "major": "y"})
        body = answer.data.replace(email.encode(), b"ADDRESS")
        headers = [(name, value) for name, value in answer.headers if name not in {"Content-Length", "Set-Cookie"}]
        # Where nothing is mailed, the notice that nobody gets is taken back instead of a request being written.
        kinds = [statement.split()[0].replace("DELETE", "INSERT") for statement in run]
        length = int(answer.headers["Content-Length"]) - len(email)
        seen[what] = (answer.status_code, body, headers, length, "Set-Cookie" in answer.headers, kinds)
        db_writes = [statement for statement in run if not statement.startswith("SELECT")]
        assert len(db_writes) == 6, what
    for what, answered in seen.items():
        assert answered == seen["unknown"], what
    assert [address for kind, address in mails(app)] == ["often@example.org"] * 3 + [
        who[what] for what in who if what not in {"closed", "mailed enough"}
    ]


def test_the_name_that_a_stranger_typed_reaches_nobody(app: Flask, cast: Cast, client: FlaskClient) -> None:
    subscribe(client, cast.erin, name="You have won, see evil.example.org", minor="y")
    subscribe(client, "new@example.org", name="You have won, see evil.example.org", minor="y")
    assert read_user(app, cast.erin).name == "Erin Example"
    with app.app_context():
        assert set(db.session.scalars(sa.select(Delivery.name))) == {""}
        db.session.remove()


def test_one_address_gets_three_mails_a_day_and_the_answer_stays_the_same(app: Flask, cast: Cast) -> None:
    answers = {subscribe(app.test_client(), "new@example.org").data for _ in range(6)}
    assert len(answers) == 1
    assert mails(app) == [(KIND, "new@example.org")] * 3
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 3
        assert db.session.scalar(sa.select(sa.func.count()).select_from(SubscriptionRequest)) == 3
        db.session.remove()


def test_one_client_may_enter_so_many_addresses_and_is_then_told_to_wait(tmp_path: Path, database_url: str) -> None:
    app = create_app(make_settings(tmp_path, database_url, subscribe_limit="2 per hour"))
    with app.app_context():
        assemble(clock.now())
    client = app.test_client()
    for number in range(2):
        assert subscribe(client, f"new{number}@example.org").status_code == 200
    answer = subscribe(client, "new3@example.org")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) == 3600
    assert "Try again in 60 minutes" in text_of(answer)
    assert len(mails(app)) == 2
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize(
    ("access", "allowed"), [(StableAccess.PUBLIC, True), (StableAccess.CUSTOMERS, False), (StableAccess.PRIORITY, False)]
)
def test_nobody_becomes_a_customer_by_subscribing(app: Flask, cast: Cast, client: FlaskClient, access: StableAccess, allowed: bool) -> None:
    subscribe(client, "new@example.org")
    client.post(link_in_newest(app, KIND, "confirm_url"))
    with app.app_context():
        product = find_product(cast.product)
        product.stable_access = access
        person = db.session.scalars(sa.select(User).where(User.email == "new@example.org")).one()
        assert decide_download(person, product, clock.now()).allowed is allowed
        db.session.remove()


def test_no_password_can_be_chosen_for_an_address_that_was_only_typed(app: Flask, cast: Cast, client: FlaskClient) -> None:
    subscribe(client, "new@example.org")
    page = client.get("/account/password/reset").text
    client.post("/account/password/reset", data={"csrf_token": csrf_token(page), "email": "new@example.org"})
    assert mails(app) == [(KIND, "new@example.org")]
    assert try_password(client, "new@example.org", "correct horse battery staple").status_code == 200


def test_no_product_no_form(client: FlaskClient, cast: Cast) -> None:
    assert client.get("/releases/nothing/subscribe").status_code == 404
    assert client.post("/releases/nothing/subscribe").status_code in {400, 404}


def test_who_is_signed_in_finds_their_address_in_the_form(sign_in: SignIn, cast: Cast) -> None:
    page = sign_in(cast.erin).get(FORM).text
    assert f'value="{cast.erin}"' in page
    assert "/account/notices/" in page
