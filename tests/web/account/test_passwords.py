"""Forgotten and changed passwords. Mail asked for inside Flask-Security's views must not get lost."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account.models import User
from portal.database import db
from portal.notices.models import Delivery, Notice
from portal.notices.rendering import Renderer, due_of
from tests.cast import PASSWORD, Cast
from tests.web.account.pages import SignIn, change_user, link_in_newest, mails, send, text_of, try_password

NEW = "a whole new long password"
FORGOT = "/account/password/reset"


def ask_for_link(app: Flask, email: str) -> str:
    send(app.test_client(), FORGOT, email=email)
    return link_in_newest(app, "password_reset", "reset_url")


def test_asking_for_a_link_leaves_a_delivery(app: Flask, cast: Cast, client: FlaskClient) -> None:
    answer = send(client, FORGOT, email=cast.alice.upper())
    assert "on its way" in text_of(answer)
    assert mails(app) == [("password_reset", cast.alice)]


def test_an_unknown_and_a_closed_account_get_the_same_answer_and_no_mail(app: Flask, cast: Cast) -> None:
    change_user(app, cast.bob, active=False)
    known = text_of(send(app.test_client(), FORGOT, email=cast.alice))
    for email in (cast.bob, "nobody@example.org"):
        assert text_of(send(app.test_client(), FORGOT, email=email)) == known.replace(cast.alice, email)
    assert mails(app) == [("password_reset", cast.alice)]


def test_the_outbox_holds_no_link_and_each_mail_gets_one_when_it_is_sent(app: Flask, cast: Cast, client: FlaskClient) -> None:
    send(client, FORGOT, email=cast.alice)
    with app.app_context():
        notice = db.session.scalars(sa.select(Notice)).one()
        delivery = db.session.scalars(sa.select(Delivery)).one()
        assert notice.context == {}
        mail = Renderer(notice, app.extensions["portal.settings"]).texts(due_of(delivery), clock.now())
        db.session.remove()
    for part in (mail.text, mail.html):
        assert f"http://127.0.0.1:8000{FORGOT}/" in part
    assert mail.subject == "Choose a new password"


def test_a_reset_works_once_ends_all_sessions_and_is_told_by_mail(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    alice = sign_in(cast.alice)
    link = ask_for_link(app, cast.alice)
    page = client.get(link)
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "private, no-store")
    answer = send(client, link, password=NEW, password_confirm=NEW)
    assert (answer.status_code, answer.location) == (302, "/sign-in")
    assert alice.get("/account/").status_code == 302
    assert mails(app)[-1] == ("security_event", cast.alice)
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 200
    assert try_password(app.test_client(), cast.alice, NEW).status_code == 302
    assert client.get(link).location == FORGOT
    assert "no longer works" in text_of(client.get(FORGOT))


def test_a_link_is_worth_nothing_once_the_account_is_closed(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = ask_for_link(app, cast.alice)
    change_user(app, cast.alice, active=False)
    assert "This account is closed." in text_of(send(client, link, password=NEW, password_confirm=NEW))
    change_user(app, cast.alice, active=True)
    assert try_password(app.test_client(), cast.alice, NEW).status_code == 200
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302


def test_a_reset_opens_a_locked_account(app: Flask, cast: Cast, client: FlaskClient) -> None:
    for _ in range(6):
        try_password(app.test_client(), cast.alice, "wrong wrong wrong")
    send(client, ask_for_link(app, cast.alice), password=NEW, password_confirm=NEW)
    assert try_password(app.test_client(), cast.alice, NEW).status_code == 302


def test_a_customer_without_a_password_makes_an_account_by_reset(app: Flask, cast: Cast, client: FlaskClient) -> None:
    change_user(app, cast.erin, password=None)
    send(client, ask_for_link(app, cast.erin), password=NEW, password_confirm=NEW)
    assert try_password(app.test_client(), cast.erin, NEW).status_code == 302


@pytest.mark.parametrize(
    ("new", "again", "text"),
    [
        ("short", "short", "12 characters or more"),
        (NEW, NEW + "x", "entries differ"),
        ("", "", "Enter a password"),
        (PASSWORD, PASSWORD, "you have now"),
    ],
)
def test_a_new_password_that_does_not_fit_is_refused_with_the_reason(cast: Cast, sign_in: SignIn, new: str, again: str, text: str) -> None:
    answer = send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=new, new_password_confirm=again)
    assert answer.status_code == 200
    assert text in text_of(answer)


def test_a_change_is_told_by_mail(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=NEW, new_password_confirm=NEW)
    assert mails(app) == [("security_event", cast.alice)]
    assert try_password(app.test_client(), cast.alice, NEW).status_code == 302


@pytest.mark.parametrize("new", ["zq vexum ply", "wandering oboe lampshade", "ein zug fährt nach łódź", "x" * 30 + "ab frogs dance"])
def test_a_password_may_be_made_of_anything(cast: Cast, sign_in: SignIn, new: str) -> None:
    answer = send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=new, new_password_confirm=new)
    assert answer.status_code == 302


@pytest.mark.parametrize(
    ("new", "text"),
    [
        ("a" * 12, "repeats itself"),
        ("alice@logistics.example.org", "your name, your address"),
        ("Example Logistics 1", "your organisation or our product"),
        ("MacroStudio2026", "easy to guess"),
        ("password1234", "tried first"),
        ("x" * 129, "128 at most"),
    ],
)
def test_a_password_that_is_easy_to_guess_is_refused_with_the_reason(cast: Cast, sign_in: SignIn, new: str, text: str) -> None:
    answer = send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=new, new_password_confirm=new)
    assert answer.status_code == 200
    assert text in text_of(answer)


def test_a_password_counts_as_it_was_typed_to_its_last_character(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    long = " Wandering oboe LAMPSHADE " + "zq vexum ply, " * 7
    assert 64 < len(long) <= 128
    send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=long, new_password_confirm=long)
    for typed in (long[:-1], long + "x", long.lower(), long.strip()):
        assert try_password(app.test_client(), cast.alice, typed).status_code == 200
    assert try_password(app.test_client(), cast.alice, long).status_code == 302


def test_a_password_does_not_expire(app: Flask, cast: Cast) -> None:
    with time_machine.travel(clock.now() + timedelta(days=3_000), tick=True):
        assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302


def test_password_fields_are_masked_and_known_to_password_managers(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    alice = sign_in(cast.alice)
    pages = {
        "/sign-in": client.get("/sign-in").text,
        "/account/verify": alice.get("/account/verify").text,
        "/account/password/change": alice.get("/account/password/change").text,
        "reset": client.get(ask_for_link(app, cast.alice)).text,
    }
    for page, text in pages.items():
        fields = [field for field in re.findall(r"<input[^>]*>", text) if "password" in field.partition('name="')[2].partition('"')[0]]
        assert fields, page
        for field in fields:
            assert 'type="password"' in field, page
            assert re.search(r'autocomplete="(current|new)-password"', field), (page, field)
            assert "onpaste" not in field
            assert "maxlength" not in field


def test_a_link_expires(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = ask_for_link(app, cast.alice)
    with time_machine.travel(clock.now() + timedelta(hours=2, minutes=1), tick=True):
        assert client.get(link).location == FORGOT
        assert "has expired" in text_of(client.get(FORGOT))
        send(client, link, FORGOT, password=NEW, password_confirm=NEW)
        assert try_password(app.test_client(), cast.alice, NEW).status_code == 200


def test_a_newer_password_makes_older_links_worthless(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    link = ask_for_link(app, cast.alice)
    send(sign_in(cast.alice), "/account/password/change", password=PASSWORD, new_password=NEW, new_password_confirm=NEW)
    assert client.get(link).location == FORGOT


def test_a_fresh_portal_knows_nobody(app: Flask) -> None:
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == 0


@pytest.mark.parametrize(("new", "text"), [("password1234", "tried first"), ("Example Logistics 1", "your organisation or our product")])
def test_a_reset_refuses_what_is_easy_to_guess(app: Flask, cast: Cast, client: FlaskClient, new: str, text: str) -> None:
    link = ask_for_link(app, cast.alice)
    assert text in text_of(send(client, link, password=new, password_confirm=new))
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302
