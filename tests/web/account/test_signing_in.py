"""Signing in: failures are counted and locked, and no answer tells an account from an unknown address."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.app import create_app
from portal.config import Settings
from portal.database import db
from tests.cast import PASSWORD, Cast, assemble
from tests.conftest import NOW, make_settings
from tests.web.account.pages import SignIn, change_user, read_user, send, text_of, try_password

WRONG = "not the right one at all"


def test_the_right_password_leads_home_and_sets_a_careful_cookie(app: Flask, cast: Cast, client: FlaskClient) -> None:
    answer = try_password(client, f" {cast.alice.upper()} ", PASSWORD)
    assert (answer.status_code, answer.location) == (302, "/")
    cookies = dict(cookie.split("=", 1) for cookie in answer.headers.getlist("Set-Cookie"))
    assert set(cookies) == {"portal", "portal-device"}
    for cookie in cookies.values():
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
    assert "Expires" not in cookies["portal"]


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/account/", "/account/"),
        ("/account/contracts/?x=1", "/account/contracts/?x=1"),
        ("https://evil.example.net/", None),
        ("//evil.example.net/", None),
        ("/\\evil.example.net/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_next_stays_on_this_site(cast: Cast, client: FlaskClient, target: str, location: str | None) -> None:
    answer = send(client, "/sign-in", email=cast.alice, password=PASSWORD, next=target)
    if location is not None:
        assert answer.location == location
    elif answer.location is not None:
        assert re.match(r"/($|[^/\\])", answer.location)


def test_unknown_wrong_closed_locked_and_passwordless_get_one_answer(app: Flask, cast: Cast, client: FlaskClient) -> None:
    change_user(app, cast.bob, active=False)
    change_user(app, cast.carol, sign_in_locked_until=clock.now() + timedelta(minutes=5))
    change_user(app, cast.dave, password=None)
    tries = [
        ("nobody@example.org", PASSWORD), (cast.alice, WRONG), (cast.bob, PASSWORD), (cast.bob, WRONG), (cast.carol, PASSWORD),
        (cast.carol, WRONG), (cast.dave, PASSWORD), ("no address", PASSWORD),
    ]  # fmt: skip
    answers = [try_password(app.test_client(), email, password) for email, password in tries]
    assert {(answer.status_code, text_of(answer)) for answer in answers} == {(200, text_of(answers[0]))}
    assert "do not match" in text_of(answers[0])


def test_failures_lock_the_account_and_time_opens_it(app: Flask, settings: Settings, cast: Cast) -> None:
    for _ in range(settings.sign_in_failures):
        try_password(app.test_client(), cast.alice, WRONG)
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 200
    assert try_password(app.test_client(), cast.bob, PASSWORD).status_code == 302
    change_user(app, cast.alice, sign_in_locked_until=clock.now() - timedelta(seconds=1))
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302


def test_a_success_forgets_the_failures_before_it(app: Flask, settings: Settings, cast: Cast) -> None:
    for _ in range(3):
        for _ in range(settings.sign_in_failures - 1):
            try_password(app.test_client(), cast.alice, WRONG)
        assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302


def test_failures_at_once_are_all_counted(app: Flask, cast: Cast) -> None:
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: try_password(app.test_client(), cast.alice, WRONG), range(5)))
    assert read_user(app, cast.alice).failed_sign_ins == 5


def test_a_wrong_password_given_to_change_or_confirm_counts_too(app: Flask, settings: Settings, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for _ in range(settings.sign_in_failures - 1):
        send(alice, "/account/verify", password=WRONG)
    answer = send(
        alice, "/account/password/change", password=WRONG, new_password="a long new password", new_password_confirm="a long new password"
    )
    assert "not your password" in text_of(answer)
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 200


def test_a_closed_account_is_out_at_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    change_user(app, cast.alice, active=False)
    assert alice.get("/account/").status_code == 302


@pytest.fixture
def strict_app(tmp_path: Path, database_url: str) -> Iterator[Flask]:
    """An app that allows an address three attempts a minute."""
    app = create_app(make_settings(tmp_path, database_url, sign_in_limit="3 per minute"))
    with app.app_context():
        assemble(NOW)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize("path", ["/sign-in", "/account/password/reset"])
def test_one_address_gets_so_many_attempts_a_minute(strict_app: Flask, path: str) -> None:
    codes = [send(strict_app.test_client(), path, email="nobody@example.org", password=WRONG).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert strict_app.test_client().get(path).status_code == 200


def test_very_long_and_odd_passwords_are_wrong_and_nothing_worse(cast: Cast, client: FlaskClient) -> None:
    for password in ("x" * 100_000, "a\x00b", " "):
        assert try_password(client, cast.alice, password).status_code == 200


def test_signing_in_needs_a_token_and_ignores_other_credentials(cast: Cast, client: FlaskClient) -> None:
    assert client.post("/sign-in", data={"email": cast.alice, "password": PASSWORD}).status_code == 400
    assert client.get("/account/", auth=(cast.alice, PASSWORD)).status_code == 302
    answer = client.post("/sign-in", json={"email": cast.alice, "password": PASSWORD}, headers={"Accept": "application/json"})
    assert answer.status_code == 415
