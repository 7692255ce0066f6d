"""The public feed is the same for everybody; a private one shows what its seat may see at this very fetch, and dies with it."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import access_tokens, contacts, contracts
from portal.account.models import AccessToken, TokenPurpose
from portal.database import db, transaction
from portal.releases import publishing
from portal.releases.models import Channel
from tests.builds import find_contract, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.feeds.conftest import MakeToken

SignIn = Callable[[str], FlaskClient]
ATOM, JSON = "/releases/macro-studio/feed.atom", "/releases/macro-studio/feed.json"
SECRETS = ("15.3", "beta 2", "Pause a macro", "/beta/")

STABLE = ["Macro Studio 15.2.1"]
WITH_BETA = ["Macro Studio 15.3 beta 2", *STABLE]
PAUSED = ["No betas of Macro Studio at present", *STABLE]
DEAD = None
# Who makes a private feed for the one seat they hold, and what it shows of Macro Studio.
TABLE: dict[str, list[str] | None] = {"alice": WITH_BETA, "bob": WITH_BETA, "carol": WITH_BETA, "dave": PAUSED, "frank": DEAD}
WITHOUT_A_SEAT = ("erin", "paula", "petra", "anton", "ada")


def fetch(app: Flask, token: str, path: str = JSON) -> TestResponse:
    return app.test_client().get(path, query_string={"token": token})


def titles(answer: TestResponse) -> list[str] | None:
    if answer.status_code == 410:
        return DEAD
    assert answer.status_code == 200
    return [item["title"].replace("\u00a0", " ") for item in json.loads(answer.data)["items"]]


def assert_says_nothing_of_betas(answer: TestResponse) -> None:
    text = answer.get_data(as_text=True) + str(answer.headers)
    assert [secret for secret in SECRETS if secret in text] == []


def comparable(answer: TestResponse) -> tuple[int, bytes, list[tuple[str, str]]]:
    return answer.status_code, answer.data, sorted(pair for pair in answer.headers if pair[0] != "Date")


def test_everybody_reads_the_same_public_feed(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    stranger = app.test_client().get(JSON)
    assert titles(stranger) == STABLE
    assert_says_nothing_of_betas(stranger)
    assert_says_nothing_of_betas(app.test_client().get(ATOM))
    for who in (cast.alice, cast.dave, cast.erin, cast.ada):
        assert comparable(sign_in(who).get(JSON)) == comparable(stranger)


@pytest.mark.parametrize("who", TABLE)
def test_a_private_feed_shows_what_the_seat_may_see(app: Flask, cast: Cast, beta: int, make_token: MakeToken, who: str) -> None:
    token = make_token(getattr(cast, who))
    answer = fetch(app, token)
    assert titles(answer) == TABLE[who]
    assert fetch(app, token, ATOM).status_code == answer.status_code
    if TABLE[who] != WITH_BETA:
        assert_says_nothing_of_betas(answer)
        assert_says_nothing_of_betas(fetch(app, token, ATOM))


def test_whoever_holds_no_seat_has_no_private_feed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    for who in WITHOUT_A_SEAT:
        page = sign_in(getattr(cast, who)).get("/account/security/").get_data(as_text=True)
        assert "Private feeds belong to a seat of a contract, and you hold none." in page
        assert 'action="/account/security/feeds' not in page


def suspend(cast: Cast) -> None:
    contracts.suspend(find_contract(cast.contract), actor=None, now=NOW)


def cancel(cast: Cast) -> None:
    contracts.cancel(find_contract(cast.contract), actor=None, now=NOW)


def release(cast: Cast) -> None:
    contacts.release_contact(find_seat(cast.alice), actor=None, now=NOW)


def replace(cast: Cast) -> None:
    contacts.replace_contact(find_seat(cast.alice), name="Nina", email="nina@logistics.example.org", actor=None, now=NOW)


def close(cast: Cast) -> None:
    find_user(cast.alice).active = False


def revoke(cast: Cast) -> None:
    alice = find_user(cast.alice)
    access_tokens.revoke(access_tokens.tokens_of(alice)[0].id, actor=alice, now=NOW)


ACTS = [(suspend, PAUSED), (cancel, PAUSED), (release, DEAD), (replace, DEAD), (close, DEAD), (revoke, DEAD)]


@pytest.mark.parametrize(("act", "left"), ACTS, ids=[act.__name__ for act, _ in ACTS])
def test_the_very_next_fetch_shows_no_beta(
    app: Flask, cast: Cast, beta: int, make_token: MakeToken, act: Callable[[Cast], None], left: list[str] | None
) -> None:
    token = make_token(cast.alice)
    before = fetch(app, token)
    assert titles(before) == WITH_BETA
    with app.app_context(), transaction():
        act(cast)
    for path in (JSON, ATOM):
        known = {"If-None-Match": before.headers["ETag"], "If-Modified-Since": before.headers["Last-Modified"]}
        answer = app.test_client().get(path, query_string={"token": token}, headers=known)
        assert answer.status_code == (410 if left is DEAD else 200)
        assert_says_nothing_of_betas(answer)
    assert titles(fetch(app, token)) == left


def test_the_contracts_last_day_ends_it_and_a_renewal_brings_it_back(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    with app.app_context():
        contract = find_contract(cast.contract)
        last_day = contract.terms[-1].ends_on
    with app.app_context():
        publish_release("15.3b3", Channel.BETA, NOW)
    with time_machine.travel(f"{last_day}T21:30:00+00:00"):  # half past eleven in Berlin, in summer time
        assert "Macro Studio 15.3 beta 3" in (titles(fetch(app, token)) or [])
    with time_machine.travel(f"{last_day}T22:30:00+00:00"):
        lapsed = fetch(app, token)
        assert titles(lapsed) == PAUSED
        assert "The contract has ended. Renew it" in lapsed.get_data(as_text=True)
        assert_says_nothing_of_betas(lapsed)
        with app.app_context(), transaction():
            contracts.renew(find_contract(cast.contract), actor=None, now=NOW + timedelta(days=300))
        back = app.test_client().get(JSON, query_string={"token": token}, headers={"If-Modified-Since": lapsed.headers["Last-Modified"]})
        assert "Macro Studio 15.3 beta 3" in (titles(back) or [])


def test_a_resumed_contract_shows_its_betas_to_a_reader_that_sends_dates_alone(
    app: Flask, cast: Cast, beta: int, make_token: MakeToken
) -> None:
    token = make_token(cast.alice)
    with app.app_context(), transaction():
        contracts.suspend(find_contract(cast.contract), actor=None, now=NOW + timedelta(hours=1))
    paused = fetch(app, token)
    with app.app_context(), transaction():
        contracts.resume(find_contract(cast.contract), actor=None, now=NOW + timedelta(hours=2))
    answer = app.test_client().get(JSON, query_string={"token": token}, headers={"If-Modified-Since": paused.headers["Last-Modified"]})
    assert titles(answer) == WITH_BETA


def test_all_dead_addresses_get_one_answer_whether_there_is_a_beta_or_not(
    app: Flask, cast: Cast, stable: int, make_token: MakeToken
) -> None:
    revoked = make_token(cast.alice)
    with app.app_context(), transaction():
        revoke(cast)
    dead = ["", "wrong", "é\x00", "x" * 5000, revoked, make_token(cast.frank), make_token(cast.bob, TokenPurpose.DOWNLOAD)]
    before = [comparable(fetch(app, token, path)) for token in dead for path in (JSON, ATOM)]
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, NOW)
    after = [comparable(fetch(app, token, path)) for token in dead for path in (JSON, ATOM)]
    assert before == after == [before[0]] * len(before)
    status, body, headers = before[0]
    assert status == 410
    assert b"http://127.0.0.1:8000/account/security/" in body
    assert ("Content-Type", "text/plain; charset=utf-8") in headers
    assert ("Cache-Control", "private, no-store") in headers
    assert b"item" not in body
    assert b"entry" not in body


def test_a_lapsed_feed_is_the_same_whether_there_is_a_beta_or_not(
    app: Flask, cast: Cast, stable: int, make_token: MakeToken
) -> None:  # fmt: skip
    token = make_token(cast.dave)
    before = comparable(fetch(app, token))
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, NOW)
    assert comparable(fetch(app, token)) == before


def test_a_feeds_token_opens_no_download(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    for path in ("/beta/macro-studio/15.3b2/download/studio.msi", "/releases/macro-studio/15.2.1/download/studio.msi"):
        answer = app.test_client().get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_a_seat_of_one_product_reads_nothing_of_another(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    token = make_token(cast.frank)
    assert titles(fetch(app, token, "/releases/form-filler/feed.json")) == []
    assert titles(fetch(app, token)) is DEAD


def test_a_withdrawn_beta_stays_with_its_reason_for_those_who_may_read_it(
    app: Flask, cast: Cast, beta: int, make_token: MakeToken
) -> None:  # fmt: skip
    token = make_token(cast.alice)
    etag = fetch(app, token).headers["ETag"]
    with app.app_context(), transaction():
        publishing.withdraw(beta, "It loses macros.", actor=None, now=NOW + timedelta(hours=1))
    answer = app.test_client().get(JSON, query_string={"token": token}, headers={"If-None-Match": etag})
    assert titles(answer) == ["Withdrawn: Macro Studio 15.3 beta 2", *STABLE]
    assert "It loses macros." in answer.get_data(as_text=True)
    assert_says_nothing_of_betas(app.test_client().get(JSON))


def test_an_unknown_product_is_not_found_with_or_without_a_token(app: Flask, cast: Cast, make_token: MakeToken) -> None:
    for path in ("/releases/no-product/feed.atom", "/releases/No%00Product/feed.json"):
        assert app.test_client().get(path).status_code == 404
        assert fetch(app, make_token(cast.alice), path).status_code == 404


def test_too_many_dead_tokens_have_to_wait(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    live = make_token(cast.alice)
    answers = [fetch(app, "wrong").status_code for _ in range(61)]
    assert answers == [410] * 60 + [429]
    throttled = fetch(app, live)
    assert throttled.status_code == 429
    assert 1 <= int(throttled.headers["Retry-After"]) <= 60
    assert app.test_client().get(JSON).status_code == 200
    by_header = app.test_client().get(
        "/beta/macro-studio/15.3b2/download/studio.msi", headers={"Authorization": "Bearer wrong"}
    )  # fmt: skip
    assert by_header.status_code == 429
    elsewhere = app.test_client().get(JSON, query_string={"token": live}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert titles(elsewhere) == WITH_BETA
    with time_machine.travel(NOW + timedelta(minutes=2)):
        assert titles(fetch(app, live)) == WITH_BETA


def test_the_last_fetch_is_remembered(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    fetch(app, token)
    with app.app_context():
        assert db.session.scalars(sa.select(AccessToken.last_used_at)).one() is not None
