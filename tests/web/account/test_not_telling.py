"""What signed-in customers are told must not tell them who else has an account, as often as they like to ask."""

import io
import json
import zipfile

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contract_views, invitations
from portal.account.models import Contact
from portal.database import db
from tests.cast import Cast
from tests.web.account.pages import SignIn, send, text_of

NOBODY = "nobody@foods.example.org"


def replace_bob(app: Flask, email: str, sign_in: SignIn, cast: Cast) -> str:
    """Let alice name `email` in bob's place, and return the address of the page that corrects a newcomer's address."""
    alice = sign_in(cast.alice)
    seat = _seat_of(app, cast.bob)
    send(alice, f"/account/contracts/{cast.contract}/contacts/{seat}/replace", name="New Example", email=email, other_domain="y")
    return f"/account/contracts/{cast.contract}/contacts/{_seat_of(app, email)}/address"


def _seat_of(app: Flask, email: str) -> int:
    with app.app_context():
        found = db.session.scalars(sa.select(Contact).where(Contact.released_at.is_(None)))
        seat = next(contact.id for contact in found if contact.user.email == email)
        db.session.remove()
    return seat


def test_where_no_more_invitations_may_be_sent_known_and_unknown_addresses_get_one_answer(
    app: Flask, cast: Cast, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = replace_bob(app, "newcomer@logistics.example.org", sign_in, cast)
    alice = sign_in(cast.alice)
    monkeypatch.setattr(invitations, "MOST_PER_SEAT", 1)
    answers = [
        text_of(send(alice, page, email=email, other_domain="y")).replace(email, "…")
        for email in (cast.carol, cast.ada, NOBODY)
    ]  # fmt: skip
    assert len(set(answers)) == 1
    assert "1 invitations within a day" in answers[0]


def test_where_the_contract_may_send_no_more_naming_tells_nothing_either(
    app: Flask, cast: Cast, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_bob(app, "newcomer@logistics.example.org", sign_in, cast)
    alice = sign_in(cast.alice)
    monkeypatch.setattr(invitations, "MOST_PER_CONTRACT", 1)
    seat = _seat_of(app, "newcomer@logistics.example.org")
    page = f"/account/contracts/{cast.contract}/contacts/{seat}/replace"
    answers = [
        text_of(send(alice, page, name="New Example", email=email, other_domain="y")).replace(email, "…")
        for email in (cast.carol, NOBODY)
    ]  # fmt: skip
    assert len(set(answers)) == 1
    assert "were sent for this contract within a day" in answers[0]


def test_guesses_of_addresses_are_counted_for_the_contract(
    app: Flask, cast: Cast, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract_views, "NAMINGS", "2 per day")
    alice, seat = sign_in(cast.alice), _seat_of(app, cast.bob)
    page = f"/account/contracts/{cast.contract}/contacts/{seat}/replace"
    answers = [
        text_of(send(alice, page, name="New Example", email=email, other_domain="y"))
        for email in (cast.carol, cast.ada, cast.erin)
    ]  # fmt: skip
    assert ["cannot be named here" in answer for answer in answers] == [True, True, False]
    assert "So many addresses were named" in answers[2]


def test_the_copy_of_ones_data_does_not_tell_whether_a_new_address_has_an_account(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    copies = []
    for email in (cast.carol, NOBODY):
        send(alice, "/account/email/", email=email)
        answer = send(alice, "/account/data/copy", "/account/data/")
        with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
            copies.append(json.loads(archive.read("deliveries.json")))
    asked, asked_again = ([delivery["address"] for delivery in copy] for copy in copies)
    assert asked == [cast.alice]
    assert asked_again == [cast.alice, cast.alice]
