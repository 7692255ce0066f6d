"""Signing in with a second factor: nothing opens before it, a code works once, and guesses are few."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import factors
from portal.account.models import Authenticator, RecoveryCode, User, UserSession
from portal.config import Settings
from portal.database import db
from tests.cast import PASSWORD, Cast
from tests.web.account.factors import (
    ASK,
    at_the_door,
    code_of,
    enters,
    give_authenticator,
    give_recovery_codes,
    noted,
    told,
    try_code,
)
from tests.web.account.pages import SignIn, change_user, link_in_newest, read_user, send, text_of, try_password

RECOVERY = f"{ASK}?with=recovery-code"


def sessions_begun(app: Flask) -> int:
    with app.app_context():
        found = db.session.scalar(sa.select(sa.func.count(UserSession.id)))
        db.session.remove()
    return found or 0


def plain_pages(app: Flask) -> list[str]:
    """Every page whose address has nothing to fill in."""
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments]
    return [rule.rule for rule in rules if not rule.endpoint.startswith(("health.", "security.login", "second_step."))]


def test_the_right_password_alone_opens_no_page(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.ada)
    pending, stranger = at_the_door(app, cast.ada), app.test_client()
    pages = plain_pages(app)
    assert len(pages) > 30
    for page in pages:
        seen, known = pending.get(page), stranger.get(page)
        assert (seen.status_code, seen.location) == (known.status_code, known.location), page
    assert "Sign out" not in pending.get("/releases/").text
    assert sessions_begun(app) == 0


def test_the_code_signs_in_under_a_new_session_and_leads_where_one_wanted_to_go(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice, next="/account/contracts/?x=1")
    assert client.get(ASK).headers["Cache-Control"] == "no-store"
    with client.session_transaction() as before:
        assert "session" not in before
        planted = before["csrf_token"]
    answer = try_code(client, code_of(secret))
    assert (answer.status_code, answer.location) == (302, "/account/contracts/?x=1")
    with client.session_transaction() as after:
        assert after["session"]
        assert after.get("csrf_token") != planted
        assert "second_step" not in after
    assert client.get("/account/security/").status_code == 200
    assert noted(app, "factor.used") == ["factor.used"]


@pytest.mark.parametrize("target", ["https://evil.example.net/", "//evil.example.net", "/\\evil.example.net"])
def test_next_stays_on_this_site(app: Flask, cast: Cast, target: str) -> None:
    secret = give_authenticator(app, cast.alice)
    client = app.test_client()
    send(client, "/sign-in", email=cast.alice, password=PASSWORD, next=target)
    assert try_code(client, code_of(secret)).location in {"/", None}


def test_a_code_works_once_and_none_before_it_either(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    used, earlier = code_of(secret), code_of(secret, -1)
    assert try_code(at_the_door(app, cast.alice), used).location == "/"
    for code in (used, earlier):
        answer = try_code(at_the_door(app, cast.alice), code)
        assert answer.status_code == 200
        assert "used before" in text_of(answer)
    assert try_code(at_the_door(app, cast.alice), code_of(secret, 1)).location == "/"


def test_a_code_used_twice_at_once_works_once(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    clients = [at_the_door(app, cast.alice) for _ in range(4)]
    code = code_of(secret)
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda client: try_code(client, code).location, clients))
    assert sorted(places, key=str) == ["/", None, None, None]
    assert sessions_begun(app) == 1


def test_wrong_codes_lock_codes_and_the_password_does_not_forget_them(app: Flask, settings: Settings, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    for _ in range(settings.sign_in_failures - 1):
        try_code(at_the_door(app, cast.alice), "000000")
    answer = try_code(at_the_door(app, cast.alice), "000001")
    assert "No code is taken now" in text_of(answer)
    client = at_the_door(app, cast.alice)
    assert client.post(ASK, data={"code": code_of(secret)}).status_code == 400  # no form is shown, so there is no token
    with client.session_transaction() as kept:
        assert kept["second_step"]
    assert told(app)[0] == "Wrong codes were entered for your account"
    assert noted(app, "factor.locked") == ["factor.locked"]
    change_user(app, cast.alice, codes_locked_until=clock.now() - timedelta(seconds=1))
    assert try_code(at_the_door(app, cast.alice), code_of(secret)).location == "/"
    assert read_user(app, cast.alice).failed_codes == 0


def test_a_right_code_counts_for_nothing_while_codes_are_locked(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    page = client.get(ASK).text
    token = page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    change_user(app, cast.alice, codes_locked_until=clock.now() + timedelta(minutes=5))
    answer = client.post(ASK, data={"csrf_token": token, "code": code_of(secret)})
    assert answer.status_code == 200
    assert "No code is taken now" in text_of(answer)
    assert sessions_begun(app) == 0


def test_a_recovery_code_works_once_and_is_told_by_mail(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    codes = give_recovery_codes(app, cast.alice)
    assert try_code(at_the_door(app, cast.alice), codes[3].upper().replace("-", " "), RECOVERY).location == "/"
    answer = try_code(at_the_door(app, cast.alice), codes[3], RECOVERY)
    assert "used before" in text_of(answer)
    assert try_code(at_the_door(app, cast.alice), codes[4]).location == "/"  # in the app's field, too
    assert told(app) == ["New recovery codes were made", "A recovery code was used", "A recovery code was used"]


def test_a_recovery_code_used_twice_at_once_works_once(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    code = give_recovery_codes(app, cast.alice)[0]
    clients = [at_the_door(app, cast.alice) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        places = list(pool.map(lambda client: try_code(client, code, RECOVERY).location, clients))
    assert sorted(places, key=str) == ["/", None, None]


def test_the_database_holds_neither_codes_nor_secrets(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    codes = give_recovery_codes(app, cast.alice)
    with app.app_context():
        sealed = db.session.scalars(sa.select(Authenticator.secret)).one()
        hashes = db.session.scalars(sa.select(RecoveryCode.code_hash)).all()
        db.session.remove()
    assert secret not in sealed.encode()
    assert all(value.startswith("$argon2id$") for value in hashes)
    assert len(codes) == len(set(codes)) == len(hashes)


def test_somebody_elses_code_is_wrong(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    bobs = give_authenticator(app, cast.bob)
    code = give_recovery_codes(app, cast.bob)[0]
    assert try_code(at_the_door(app, cast.alice), code_of(bobs)).status_code == 200
    assert try_code(at_the_door(app, cast.alice), code, RECOVERY).status_code == 200


def test_the_second_step_is_open_for_ten_minutes(app: Flask, cast: Cast) -> None:
    secret = give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    with time_machine.travel(clock.now() + timedelta(minutes=10), tick=True):
        answer = client.get(ASK, follow_redirects=True)
        assert "Sign in again" in text_of(answer)
        assert code_of(secret)
    assert client.get(ASK).location == "/sign-in"


def test_a_changed_password_closes_the_door(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    send(
        alice, "/account/password/change", password=PASSWORD,
        new_password="a quite different harbour 7", new_password_confirm="a quite different harbour 7",
    )  # fmt: skip
    assert client.get(ASK).location == "/sign-in"


def test_a_password_reset_while_the_code_is_looked_at_closes_the_door_too(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    take_code = factors.take_code

    def overtaken(person: User, *arguments: Any, **options: Any) -> Any:
        way = take_code(person, *arguments, **options)
        db.session.execute(sa.update(User).where(User.id == person.id).values(fs_uniquifier="another"))
        return way

    monkeypatch.setattr(factors, "take_code", overtaken)
    assert try_code(client, code_of(secret)).status_code == 200
    assert client.get(ASK).location == "/sign-in"
    assert sessions_begun(app) == 0


def test_a_closed_account_is_out(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    change_user(app, cast.alice, active=False)
    assert client.get(ASK).location == "/sign-in"


def test_a_reset_password_does_not_open_the_lock_of_codes(app: Flask, cast: Cast, settings: Settings) -> None:
    """Or whoever reads the mail of an account could guess codes for as long as they like, a reset after each few."""
    secret, fine = give_authenticator(app, cast.alice), "another correct horse battery"
    guesser = at_the_door(app, cast.alice)
    for _ in range(settings.sign_in_failures):
        try_code(guesser, "000000")
    send(app.test_client(), "/account/password/reset", email=cast.alice)
    send(app.test_client(), link_in_newest(app, "password_reset", "reset_url"), password=fine, password_confirm=fine)
    client = app.test_client()
    assert try_password(client, cast.alice, fine).location == ASK
    assert "No code is taken now" in text_of(client.get(ASK))
    assert read_user(app, cast.alice).failed_codes == settings.sign_in_failures
    with time_machine.travel(clock.now() + timedelta(minutes=settings.sign_in_lock_minutes + 1), tick=True):
        client = app.test_client()
        try_password(client, cast.alice, fine)
        assert try_code(client, code_of(secret)).location == "/"


def test_a_reset_password_does_not_skip_the_second_factor(app: Flask, cast: Cast, client: FlaskClient) -> None:
    secret = give_authenticator(app, cast.alice)
    send(client, "/account/password/reset", email=cast.alice)
    link = link_in_newest(app, "password_reset", "reset_url")
    new = "a quite different harbour 7"
    send(client, link, password=new, password_confirm=new)
    assert client.get("/account/").status_code == 302
    assert not enters(app, cast.alice, new)
    answer = try_password(client, cast.alice, new)
    assert answer.location == ASK
    assert try_code(client, code_of(secret)).location == "/"


def test_a_wrong_password_says_nothing_of_factors(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    wrong = [text_of(try_password(app.test_client(), email, "not the right one")) for email in (cast.alice, cast.bob, "no@example.org")]
    assert len(set(wrong)) == 1


def test_without_the_password_there_is_no_second_step(app: Flask, cast: Cast, client: FlaskClient, sign_in: SignIn) -> None:
    assert client.get(ASK).location == "/sign-in"
    assert sign_in(cast.alice).get(ASK).location == "/"


def test_odd_codes_are_wrong_and_nothing_worse(app: Flask, cast: Cast) -> None:
    give_authenticator(app, cast.alice)
    client = at_the_door(app, cast.alice)
    for code in ("１２３４５６", "a\x00b", "x" * 10_000, "-----", "🦊" * 6):
        assert try_code(client, code).status_code == 200
