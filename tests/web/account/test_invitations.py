"""Accepting an invitation: opening the link changes nothing, sending its form works once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account.models import Contact, Contract, Invitation, Organization
from portal.database import db, transaction
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW, csrf_token
from tests.web.account.pages import SignIn, invite_somebody, link_in_newest, read_user, send, text_of, try_password

NINA = "nina@foods.example.org"
NEW = "a whole new long password"


def change_invitations(app: Flask, **values: object) -> None:
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(Invitation).values(**values))
        db.session.remove()


def test_the_link_of_the_mail_is_the_link_that_works(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    assert link_in_newest(app, "invitation", "invitation_url") == link
    page = text_of(client.get(link))
    for fact in (NINA, cast.other_contract, "Example Foods", "Macro Studio"):
        assert fact in page


def test_opening_the_link_any_number_of_times_uses_nothing_up(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    for _ in range(3):
        assert client.get(link).status_code == 200
        assert client.head(link).status_code == 200
    assert read_user(app, NINA).password is None


def test_accepting_sets_the_password_signs_in_and_leads_home(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    answer = send(client, link, name="Nina Newcomer", password=NEW)
    assert (answer.status_code, answer.location) == (302, "/")
    assert "Nina Newcomer" in client.get("/account/").get_data(as_text=True)
    assert try_password(app.test_client(), NINA, NEW).status_code == 302
    closed = app.test_client().get(link)
    assert closed.status_code == 410
    assert "accepted already" in text_of(closed)


def test_of_twenty_at_once_one_wins_and_its_password_stands(app: Flask, cast: Cast) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    clients = [app.test_client() for _ in range(20)]
    forms = [csrf_token(one.get(link).get_data(as_text=True)) for one in clients]

    def accept(number: int) -> int:
        data = {"csrf_token": forms[number], "name": "Nina", "password": f"{NEW} {number}"}
        return clients[number].post(link, data=data).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(accept, range(20)))
    assert codes.count(302) == 1
    assert set(codes) <= {302, 410, 200}
    winner = codes.index(302)
    assert try_password(app.test_client(), NINA, f"{NEW} {winner}").status_code == 302
    assert sum(one.get("/account/").status_code == 200 for one in clients) == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [({"revoked_at": NOW}, "withdrawn"), ({"expires_at": NOW - timedelta(seconds=1)}, "expired")],
)
def test_a_dead_invitation_says_what_to_do(app: Flask, cast: Cast, client: FlaskClient, values: dict[str, object], text: str) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    form = csrf_token(client.get(link).get_data(as_text=True))
    change_invitations(app, **values)
    for answer in (client.get(link), client.post(link, data={"csrf_token": form, "password": NEW})):
        assert answer.status_code == 410
        assert text in text_of(answer)
    assert read_user(app, NINA).password is None


def test_an_invitation_dies_with_the_seat(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(Contact).values(released_at=clock.now()))
        db.session.remove()
    assert client.get(link).status_code == 410


@pytest.mark.parametrize("token", ["unknown", "a" * 3000, "%00", "%ff"])
def test_an_unknown_link_is_not_found(cast: Cast, client: FlaskClient, token: str) -> None:
    assert client.get(f"/account/invitations/{token}").status_code == 404


def test_accepting_needs_a_token_and_a_password_that_fits_and_keeps_the_name(app: Flask, cast: Cast, client: FlaskClient) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    assert client.post(link, data={"password": NEW}).status_code == 400
    answer = send(client, link, name="Nina Newcomer", password="short")
    assert "12 characters or more" in text_of(answer)
    assert 'value="Nina Newcomer"' in answer.get_data(as_text=True)
    assert read_user(app, NINA).password is None


@pytest.mark.parametrize(("new", "text"), [("password1234", "tried first"), (NINA, "your name, your address")])
def test_an_invitation_refuses_a_password_that_is_easy_to_guess(app: Flask, cast: Cast, client: FlaskClient, new: str, text: str) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    assert text in text_of(send(client, link, name="Nina", password=new))
    assert read_user(app, NINA).password is None


def test_somebody_with_a_password_signs_in_and_confirms(app: Flask, cast: Cast, client: FlaskClient, sign_in: SignIn) -> None:
    erin = "erin@press.example.org"
    with app.app_context():
        with transaction() as session:
            buyer = sa.select(Organization.id).where(Organization.name == "Example Press").scalar_subquery()
            session.execute(sa.update(Contract).where(Contract.number == cast.other_contract).values(organization_id=buyer))
        db.session.remove()
    link = invite_somebody(app, cast.other_contract, erin)
    page = client.get(link).get_data(as_text=True)
    assert 'name="password"' not in page
    assert f"/sign-in?next={link}" in page
    assert client.post(link, data={"csrf_token": csrf_token(page), "password": NEW}).status_code in (200, 400)
    assert try_password(app.test_client(), erin, PASSWORD).status_code == 302
    stranger = sign_in(cast.alice)
    assert "for somebody else" in text_of(stranger.get(link))
    assert send(sign_in(erin), link).location == "/"
    assert client.get(link).status_code == 410


def test_an_invitation_does_not_replace_whoever_is_signed_in(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    link = invite_somebody(app, cast.other_contract, NINA)
    alice = sign_in(cast.alice)
    assert "for somebody else" in text_of(alice.get(link))
    send(alice, link, "/account/", name="Nina", password=NEW)
    assert read_user(app, NINA).password is None
