"""Sessions are kept by the server: a copied cookie is worth nothing once its session has ended."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import contacts, contracts
from portal.account.models import UserSession
from portal.database import db, transaction
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.web.account.pages import SignIn, change_user, send, text_of


def copy_of(client: FlaskClient, other: FlaskClient) -> FlaskClient:
    """Give `other` the cookie that `client` has now, as a thief of the cookie would have it."""
    cookie = client.get_cookie("portal")
    assert cookie is not None
    other.set_cookie("portal", cookie.value)
    return other


def is_in(client: FlaskClient) -> bool:
    return client.get("/account/").status_code == 200


def age(app: Flask, **values: object) -> None:
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(UserSession).values(**values))
        db.session.remove()


def test_a_copied_cookie_is_dead_after_signing_out(cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    alice = sign_in(cast.alice)
    thief = copy_of(alice, client)
    assert is_in(thief)
    assert send(alice, "/sign-out", "/account/").status_code == 302
    assert not is_in(alice)
    assert not is_in(thief)


def test_signing_out_is_a_form_with_a_token(cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert alice.get("/sign-out").status_code == 405
    assert alice.post("/sign-out").status_code == 400
    assert is_in(alice)


@pytest.mark.parametrize(
    ("values", "lives"),
    [
        ({"last_seen_at": timedelta(hours=11)}, True),
        ({"last_seen_at": timedelta(hours=13)}, False),
        ({"created_at": timedelta(days=13)}, True),
        ({"created_at": timedelta(days=15)}, False),
    ],
)
def test_a_session_ends_when_idle_or_old(app: Flask, cast: Cast, sign_in: SignIn, values: dict[str, timedelta], lives: bool) -> None:
    alice = sign_in(cast.alice)
    age(app, **{column: clock.now() - ago for column, ago in values.items()})
    assert is_in(alice) == lives


def test_the_last_use_is_written_once_a_minute(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    writes: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            writes.append(statement)

    with app.app_context():
        engine = db.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    assert all(is_in(alice) for _ in range(3))
    assert writes == []
    age(app, last_seen_at=clock.now() - timedelta(minutes=2))
    writes.clear()
    assert all(is_in(alice) for _ in range(3))
    assert len(writes) == 1


def test_a_released_seat_ends_the_sessions_of_its_contact(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, bob = sign_in(cast.alice), sign_in(cast.bob)
    with app.app_context(), transaction():
        contact = contacts.live_contacts(contracts.find_contract(cast.contract).id)[0]
        contacts.release_contact(contact, actor=None, now=clock.now())
    assert not is_in(alice)
    assert is_in(bob)


def test_a_changed_password_keeps_this_session_alone(cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    here, there = sign_in(cast.alice), sign_in(cast.alice)
    thief = copy_of(here, client)
    new = "another correct horse battery"
    answer = send(here, "/account/password/change", password=PASSWORD, new_password=new, new_password_confirm=new)
    assert (answer.status_code, answer.location) == (302, "/account/security/")
    assert is_in(here)
    assert not is_in(there)
    assert not is_in(thief)


def test_the_page_lists_devices_and_signs_them_out(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    here, there, bob = sign_in(cast.alice), sign_in(cast.alice), sign_in(cast.bob)
    with app.app_context():
        ids = dict(db.session.execute(sa.select(UserSession.id, UserSession.user_id).order_by(UserSession.id)).all())
        db.session.remove()
    _mine, other, bobs = ids
    assert send(here, f"/account/security/sessions/{bobs}/end", "/account/security/").status_code == 404
    assert send(here, f"/account/security/sessions/{other}/end", "/account/security/").status_code == 302
    assert (is_in(here), is_in(there), is_in(bob)) == (True, False, True)
    there = sign_in(cast.alice)
    assert send(here, "/account/security/sessions/end-others", "/account/security/").status_code == 302
    assert "1 other device is signed out" in text_of(here.get("/account/security/"))
    assert (is_in(here), is_in(there)) == (True, False)


def test_a_forged_cookie_and_one_without_a_session_are_nobody(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    alice = sign_in(cast.alice)
    with alice.session_transaction() as cookie:
        kept = dict(cookie)
    for changes in ({"session": "guessed"}, {"session": ""}, {"_user_id": "0" * 32}):
        with client.session_transaction() as cookie:
            cookie.update({**kept, **changes})
        assert not is_in(client)


def test_what_was_planted_before_signing_in_is_worth_nothing_after_it(app: Flask, cast: Cast, client: FlaskClient) -> None:
    """Session fixation, and a form's token that somebody else knows."""
    planted = csrf_token(client.get("/sign-in").text)
    attacker = copy_of(client, app.test_client())
    assert send(client, "/sign-in", email=cast.alice, password=PASSWORD).status_code == 302
    assert is_in(client)
    assert not is_in(attacker)
    assert client.post("/account/security/sessions/end-others", data={"csrf_token": planted}).status_code == 400


def test_signing_in_again_ends_the_session_before_it(app: Flask, cast: Cast, sign_in: SignIn, client: FlaskClient) -> None:
    """Another person signs in with the cookie of a session that runs, as on a shared machine."""
    alice = sign_in(cast.alice)
    thief = copy_of(alice, client)
    with alice.session_transaction() as cookie:
        cookie.pop("_user_id")
    assert send(alice, "/sign-in", email=cast.bob, password=PASSWORD).status_code == 302
    assert not is_in(thief)


def test_every_page_of_the_signed_in_has_the_way_out(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, ada, seen = sign_in(cast.alice), sign_in(cast.ada), 0
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or set()) or rule.arguments or rule.endpoint.startswith("health."):
            continue
        for client in (alice, ada):
            answer = client.get(rule.rule)
            if answer.status_code == 200 and answer.mimetype == "text/html":
                assert 'action="/sign-out"' in answer.text, rule.rule
                seen += 1
    assert seen > 30


def test_a_session_lives_no_longer_for_being_used(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    age(app, created_at=clock.now() - timedelta(days=14, minutes=1), last_seen_at=clock.now())
    assert not is_in(alice)
    assert not is_in(alice)


def test_a_closed_account_ends_all_its_sessions_at_once(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    here, there = sign_in(cast.alice), sign_in(cast.alice)
    change_user(app, cast.alice, active=False)
    assert (is_in(here), is_in(there)) == (False, False)


def test_each_session_has_a_token_of_its_own_that_stands_nowhere_in_clear(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    tokens = set()
    for _ in range(5):
        with sign_in(cast.alice).session_transaction() as cookie:
            tokens.add(cookie["session"])
    assert len(tokens) == 5
    assert all(len(token) == 43 for token in tokens)  # 256 bits
    with app.app_context():
        stored = set(db.session.scalars(sa.select(UserSession.token_hash)))
        db.session.remove()
    assert not stored & tokens
