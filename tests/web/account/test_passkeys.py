"""Passkeys: as second factor and as the whole sign-in; every answer counts once, for its ceremony, person, browser and site."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock
from portal.account import factors_passkeys
from portal.account.models import Passkey, SpentChallenge
from portal.database import db, transaction
from tests.authenticators import Key, base64url, octets
from tests.cast import PASSWORD, Cast
from tests.web.account.factors import ASK, NAMED, add_passkey, answer_form, csrf_of, enters, noted, options_on, told
from tests.web.account.pages import SignIn, change_user, text_of

NEW = "/account/security/passkeys/new"
PROVE = f"{ASK}/passkey"
ALONE = "/sign-in/passkey"
CONFIRM = "/account/verify/passkey"


@pytest.fixture
def key(app: Flask, cast: Cast, sign_in: SignIn) -> Key:
    """Alice's key, added by its page."""
    key = Key()
    assert add_passkey(sign_in(cast.alice), key).status_code == 200
    return key


def page_of(client: FlaskClient, path: str = "/sign-in") -> TestResponse:
    return client.get(path, base_url=NAMED)


def post(client: FlaskClient, path: str, data: dict[str, str]) -> TestResponse:
    return client.post(path, base_url=NAMED, data=data)


def at_the_door(app: Flask, email: str, **form: str) -> FlaskClient:
    client = app.test_client()
    page = page_of(client)
    answer = post(client, "/sign-in", {"csrf_token": csrf_of(page), "email": email, "password": PASSWORD, **form})
    assert answer.location == ASK
    return client


def sign_in_alone(app: Flask, key: Key, **more: str) -> TestResponse:
    client = app.test_client()
    page = page_of(client)
    return post(client, ALONE, answer_form(page, key.prove(options_on(page)), **more))


def is_in(client: FlaskClient) -> bool:
    return client.get("/account/", base_url=NAMED).status_code == 200


def test_the_first_passkey_brings_recovery_codes_and_word_of_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, elsewhere = sign_in(cast.alice), sign_in(cast.alice)
    answer = add_passkey(alice, Key(), "Work laptop")
    assert answer.text.count("<li><code>") == 10
    assert elsewhere.get("/account/").status_code == 302  # it was signed in by a password alone
    page = page_of(alice, "/account/security/").text
    assert "Work laptop" in page
    assert "10 codes left" in page
    assert told(app) == ["A passkey was added"]
    assert noted(app, "passkey.added") == ["passkey.added"]
    assert not enters(app, cast.alice)


def test_as_second_factor_it_leads_where_one_wanted_to_go(app: Flask, cast: Cast, key: Key) -> None:
    client = at_the_door(app, cast.alice, next="/account/contracts/")
    page = page_of(client, ASK)
    assert [known["id"] for known in options_on(page)["allowCredentials"]] == [base64url(key.id)]
    answer = post(client, PROVE, answer_form(page, key.prove(options_on(page))))
    assert (answer.status_code, answer.location) == (302, "/account/contracts/")
    assert is_in(client)


def test_alone_it_signs_in_without_a_password(app: Flask, cast: Cast, key: Key) -> None:
    client = app.test_client()
    page = page_of(client, "/sign-in?next=/account/contracts/")
    asked = options_on(page)
    assert asked["allowCredentials"] == []
    assert asked["userVerification"] == "required"
    assert 'name="next" value="/account/contracts/"' in page.text
    answer = post(client, ALONE, answer_form(page, key.prove(asked), next="/account/contracts/"))
    assert (answer.status_code, answer.location) == (302, "/account/contracts/")
    assert is_in(client)
    assert sign_in_alone(app, key, next="//evil.example.net").location == "/"


def test_alone_it_must_have_asked_for_a_pin_or_a_finger(app: Flask, cast: Cast, key: Key) -> None:
    key.verifies = False
    assert sign_in_alone(app, key).location == "/sign-in"
    client = at_the_door(app, cast.alice)
    page = page_of(client, ASK)
    assert post(client, PROVE, answer_form(page, key.prove(options_on(page)))).location == "/"


def test_an_answer_counts_once(app: Flask, cast: Cast, key: Key) -> None:
    client = app.test_client()
    page = page_of(client)
    form = answer_form(page, key.prove(options_on(page)))
    copies = [app.test_client() for _ in range(3)]
    for copy in copies:
        for cookie in client._cookies.values():  # type: ignore[union-attr]
            copy.set_cookie(cookie.key, cookie.value, domain="localhost", path="/")
    with ThreadPoolExecutor(3) as pool:
        places = list(pool.map(lambda copy: post(copy, ALONE, form).location, copies))
    assert sorted(places, key=str) == ["/", "/sign-in", "/sign-in"]


REFUSED: dict[str, Callable[[Key, dict[str, Any]], str]] = {
    "another site's page": lambda key, asked: key.prove(asked, origin="https://evil.example.net"),
    "a page by the number": lambda key, asked: key.prove(asked, origin="http://127.0.0.1:8000"),
    "another kind of act": lambda key, asked: key.prove(asked, type="webauthn.create"),
    "a challenge of its own": lambda key, asked: key.prove(asked, challenge=base64url(bytes(56))),
    "no challenge": lambda key, asked: key.prove(asked, challenge=""),
    "an unknown key": lambda key, asked: Key(handle=key.handle).prove(asked),
    "another key under its id": lambda key, asked: Key(id=key.id, handle=key.handle).prove(asked),
    "another account's handle": lambda key, asked: Key(id=key.id, private=key.private, handle=bytes(32)).prove(asked),
    "another site's key": lambda key, asked: Key(id=key.id, private=key.private, handle=key.handle, site="evil.example.net").prove(asked),
    "nothing": lambda key, asked: "",
    "no object": lambda key, asked: "[1]",
    "a broken object": lambda key, asked: '{"response": {"clientDataJSON": "e30"}}',
    "too much": lambda key, asked: key.prove(asked) + " " * 20_000,
    "no text": lambda key, asked: '{"id": 7, "response": {"clientDataJSON": 7}}',
    "a deep one": lambda key, asked: "[" * 19_000,
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_answer_must_fit(app: Flask, cast: Cast, key: Key) -> None:
    stranger, pending = app.test_client(), at_the_door(app, cast.alice)
    for which, answer in REFUSED.items():
        page = page_of(stranger)
        assert post(stranger, ALONE, answer_form(page, answer(key, options_on(page)))).location == "/sign-in", which
        assert "could not sign you in with that passkey" in text_of(page_of(stranger)), which
        page = page_of(pending, ASK)
        assert post(pending, PROVE, answer_form(page, answer(key, options_on(page)))).status_code == 200, which
    assert not is_in(stranger)
    assert not is_in(pending)
    page = page_of(pending, ASK)
    assert post(pending, PROVE, answer_form(page, key.prove(options_on(page)))).location == "/"


def test_a_key_that_counts_backwards_was_copied(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    key = Key(count=5)
    add_passkey(sign_in(cast.alice), key)
    assert sign_in_alone(app, key).location == "/"
    key.count = 3
    assert sign_in_alone(app, key).location == "/sign-in"
    assert noted(app, "factor.failed") == ["factor.failed"]


def test_an_answer_belongs_to_the_browser_it_was_asked_in(app: Flask, cast: Cast, key: Key) -> None:
    asked = options_on(page_of(app.test_client()))
    other = app.test_client()
    assert post(other, ALONE, answer_form(page_of(other), key.prove(asked))).location == "/sign-in"


def test_an_answer_belongs_to_what_was_asked(app: Flask, cast: Cast, key: Key) -> None:
    """The sign-in page's question, answered without a PIN, is no second factor; nor the other way round."""
    client = at_the_door(app, cast.alice)
    alone, second = page_of(client), page_of(client, ASK)
    assert post(client, PROVE, answer_form(second, key.prove(options_on(alone)))).status_code == 200
    assert post(client, ALONE, answer_form(alone, key.prove(options_on(second)))).location == "/sign-in"
    assert not is_in(client)


def test_somebody_elses_key_is_no_second_factor(app: Flask, cast: Cast, key: Key, sign_in: SignIn) -> None:
    bobs = Key()
    add_passkey(sign_in(cast.bob), bobs)
    client = at_the_door(app, cast.alice)
    page = page_of(client, ASK)
    assert post(client, PROVE, answer_form(page, bobs.prove(options_on(page)))).status_code == 200
    assert not is_in(client)


def test_a_question_is_open_for_ten_minutes_and_then_forgotten(app: Flask, cast: Cast, key: Key) -> None:
    client = app.test_client()
    page = page_of(client)
    form = answer_form(page, key.prove(options_on(page)))
    with time_machine.travel(clock.now() + timedelta(minutes=10, seconds=1), tick=True):
        assert post(client, ALONE, form).location == "/sign-in"
        assert sign_in_alone(app, key).location == "/"
        with app.app_context():
            assert db.session.scalar(sa.select(sa.func.count()).select_from(SpentChallenge)) == 1
            db.session.remove()


def test_a_closed_account_stays_closed_and_a_lock_of_passwords_keeps_no_passkey_out(app: Flask, cast: Cast, key: Key) -> None:
    change_user(app, cast.alice, sign_in_locked_until=clock.now() + timedelta(hours=1), codes_locked_until=clock.now() + timedelta(hours=1))
    assert sign_in_alone(app, key).location == "/"
    change_user(app, cast.alice, active=False)
    assert sign_in_alone(app, key).location == "/sign-in"


def test_a_key_is_added_once_and_under_a_name(app: Flask, cast: Cast, key: Key, sign_in: SignIn) -> None:
    bob = sign_in(cast.bob)
    assert "registered already" in text_of(add_passkey(bob, key))
    assert "Enter a name" in text_of(add_passkey(bob, Key(), " "))
    assert "control characters" in text_of(add_passkey(bob, Key(), "a\u202eb"))
    assert "not been added" not in text_of(add_passkey(bob, Key(), "<b>Bob’s & key</b>"))
    assert "&lt;b&gt;Bob’s &amp; key&lt;/b&gt;" in bob.get("/account/security/", base_url=NAMED).text


def test_a_registration_is_answered_once_by_its_page(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert add_passkey(alice, Key()).status_code == 200
    page = page_of(alice, NEW)
    asked = options_on(page)
    first, second = Key(), Key()
    assert post(alice, NEW, answer_form(page, first.register(asked), label="A")).location
    assert "did not work" in text_of(post(alice, NEW, answer_form(page, second.register(asked), label="B")))
    for change in ({"origin": "https://evil.example.net"}, {"type": "webauthn.get"}, {"challenge": base64url(bytes(56))}):
        page = page_of(alice, NEW)
        answer = post(alice, NEW, answer_form(page, Key().register(options_on(page), **change), label="C"))
        assert "did not work" in text_of(answer)


def test_nobody_has_more_than_so_many(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    add_passkey(alice, Key())
    with app.app_context():
        with transaction() as session:
            kept = session.scalars(sa.select(Passkey)).one()
            for number in range(factors_passkeys.MOST_PASSKEYS - 1):
                session.add(
                    Passkey(
                        user_id=kept.user_id, credential_id=f"key {number}", public_key=b"", sign_count=0, transports="", label="x",
                        created_at=clock.now(),
                    )
                )  # fmt: skip
        db.session.remove()
    assert "Remove one first" in text_of(add_passkey(alice, Key()))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_hostile_registrations_are_refused_in_words(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    add_passkey(alice, Key())
    for number in range(12):
        page = page_of(alice, NEW)
        given = json.loads(Key().register(options_on(page)))
        statement = octets(given["response"]["attestationObject"])
        cut = statement[: len(statement) * number // 12] + bytes([0xFF]) * (number % 3)
        given["response"]["attestationObject"] = base64url(cut)
        assert "did not work" in text_of(post(alice, NEW, answer_form(page, json.dumps(given), label="X")))


def test_where_the_page_has_another_name_it_says_where_passkeys_work(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert "data-passkey" not in app.test_client().get("/sign-in").text
    page = alice.get(NEW)
    assert "data-passkey" not in page.text
    assert f"{NAMED}{NEW}" in page.text


def test_a_passkey_confirms_in_place_of_the_password(app: Flask, cast: Cast, key: Key) -> None:
    client = at_the_door(app, cast.alice)
    page = page_of(client, ASK)
    post(client, PROVE, answer_form(page, key.prove(options_on(page))))
    with time_machine.travel(clock.now() + timedelta(minutes=31), tick=True):
        assert page_of(client, NEW).location.startswith("/account/verify")
        page = page_of(client, f"/account/verify?next={NEW}")
        asked = options_on(page)
        assert asked["userVerification"] == "required"
        stranger = Key(handle=key.handle)
        assert "could not use that passkey" in text_of(post(client, CONFIRM, answer_form(page, stranger.prove(asked), next=NEW)))
        key.verifies = False
        post(client, CONFIRM, answer_form(page, key.prove(asked), next=NEW))
        assert page_of(client, NEW).status_code == 302
        key.verifies = True
        assert post(client, CONFIRM, answer_form(page, key.prove(asked), next=NEW)).location == NEW
        assert page_of(client, NEW).status_code == 200
