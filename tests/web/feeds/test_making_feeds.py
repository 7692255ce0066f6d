"""A contact makes and revokes private feeds on their account's page; each address is shown once."""

import re
from collections.abc import Callable
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account import access_tokens, contacts, contracts
from portal.account.models import AccessToken, TokenPurpose
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.products.catalog import find_product
from tests.builds import find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.account.pages import send, text_of
from tests.web.feeds.conftest import MakeToken

SignIn = Callable[[str], FlaskClient]
PAGE, MAKE = "/account/security/", "/account/security/feeds"


def seat_id(app: Flask, email: str) -> str:
    with app.app_context():
        return str(find_seat(email).id)


def test_the_address_is_shown_once_and_works_until_it_is_revoked(app: Flask, cast: Cast, beta: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    made = send(alice, MAKE, PAGE, **{"feed-label": "Team channel", "feed-contact_id": seat_id(app, cast.alice)})
    assert made.status_code == 200
    page = unescape(made.get_data(as_text=True))
    atom, json = re.findall(r'data-copy="(http://127\.0\.0\.1:8000/releases/macro-studio/feed\.[a-z]+\?token=[^"]+)"', page)
    assert f"<code>{atom}</code>" in page
    (token,) = parse_qs(urlsplit(atom).query)["token"]
    reader = app.test_client()
    for address in (atom, json):
        assert "15.3b2" in reader.get(address).get_data(as_text=True)
    later = alice.get(PAGE)
    assert token not in later.get_data(as_text=True)
    assert "Team channel" in text_of(later)
    (revoke,) = re.findall(r'action="(/account/security/tokens/\d+/revoke)"', later.get_data(as_text=True))
    assert "Revoke the private feed Team channel" in later.get_data(as_text=True)
    send(alice, revoke, PAGE)
    after = text_of(alice.get(PAGE))
    assert "The private feed is revoked." in after
    assert "Team channel" not in after
    assert reader.get(atom).status_code == 410


def test_only_its_hash_is_kept(app: Flask, cast: Cast, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    with app.app_context():
        row = db.session.scalars(sa.select(AccessToken)).one()
        assert row.purpose is TokenPurpose.FEED
        assert row.token_hash != token
        event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "access_token.created")).one()
        assert event.details == {"label": "reader", "purpose": "feed"}


def test_a_feed_is_made_for_ones_own_seat_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    answer = send(sign_in(cast.alice), MAKE, PAGE, **{"feed-label": "mine", "feed-contact_id": seat_id(app, cast.bob)})
    assert answer.status_code == 422
    assert "token=" not in answer.get_data(as_text=True)
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(AccessToken)) == 0


def test_with_two_seats_the_address_is_that_of_the_chosen_contracts_product(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        alice = find_user(cast.alice)
        assert alice.organization is not None
        product = find_product(cast.other_product)
        second = contracts.create_contract("NW-2050", alice.organization, product, NOW.date(), time_zone="UTC", actor=None, now=NOW)
        seat = contacts.name_contact(second, name="Alice", email=cast.alice, actor=None, now=NOW, invite=False)
        chosen = str(seat.id)
    client = sign_in(cast.alice)
    assert client.get(PAGE).get_data(as_text=True).count("NW-2050, Form Filler</option>") == 2
    made = send(client, MAKE, PAGE, **{"feed-label": "reader", "feed-contact_id": chosen}).get_data(as_text=True)
    assert made.count("http://127.0.0.1:8000/releases/form-filler/feed.") == 4
    assert "about the betas of Form Filler" in made


@pytest.mark.parametrize("label", ["", "x" * 81, "two\nlines"])
def test_a_bad_name_is_explained_and_kept(app: Flask, cast: Cast, sign_in: SignIn, label: str) -> None:
    answer = send(sign_in(cast.alice), MAKE, PAGE, **{"feed-label": label, "feed-contact_id": seat_id(app, cast.alice)})
    assert answer.status_code == 422
    assert "We could not make the feed." in text_of(answer)
    assert 'id="label-error"' not in answer.get_data(as_text=True)
    if len(label) > 80:
        assert f'value="{label}"' in answer.get_data(as_text=True)


def test_ids_on_the_page_are_unique(cast: Cast, sign_in: SignIn) -> None:
    ids = re.findall(r'\sid="([^"]+)"', sign_in(cast.alice).get(PAGE).get_data(as_text=True))
    assert len(set(ids)) == len(ids)


def test_feeds_and_download_tokens_are_counted_apart(app: Flask, cast: Cast, sign_in: SignIn, make_token: MakeToken) -> None:
    for _ in range(access_tokens.MOST_PER_SEAT):
        make_token(cast.alice, TokenPurpose.DOWNLOAD)
    made = send(sign_in(cast.alice), MAKE, PAGE, **{"feed-label": "reader", "feed-contact_id": seat_id(app, cast.alice)})
    assert made.status_code == 200
    for _ in range(access_tokens.MOST_PER_SEAT - 1):
        make_token(cast.alice)
    refused = send(sign_in(cast.alice), MAKE, PAGE, **{"feed-label": "reader", "feed-contact_id": seat_id(app, cast.alice)})
    assert refused.status_code == 422
    assert "You have 20 private feeds. Revoke one that you no longer use." in text_of(refused)


def test_somebody_elses_feed_cannot_be_revoked(app: Flask, cast: Cast, sign_in: SignIn, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    with app.app_context():
        token_id = db.session.scalars(sa.select(AccessToken.id)).one()
    assert send(sign_in(cast.bob), f"/account/security/tokens/{token_id}/revoke", PAGE).status_code == 404
    assert app.test_client().get("/releases/macro-studio/feed.json", query_string={"token": token}).status_code == 200
