"""Who may be named to a seat, mistyped addresses, and personal tokens that die with the seat."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal import tokens
from portal.account import access_tokens, contacts, contracts, invitations, people
from portal.account.models import Contact, Invitation, TokenPurpose, User
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound, PortalError
from portal.notices.models import Delivery
from tests.cast import Cast
from tests.conftest import NOW, SECRET

pytestmark = pytest.mark.usefixtures("app_context")


def person(email: str) -> User:
    return db.session.scalars(sa.select(User).where(User.email == email)).one()


def seat_of(email: str) -> Contact:
    return db.session.scalars(sa.select(Contact).where(Contact.user_id == person(email).id, Contact.released_at.is_(None))).one()


def link_of(email: str) -> str:
    """The token of the newest invitation of a contact, as its mail would carry it."""
    newest = sa.select(Invitation).where(Invitation.contact_id == seat_of(email).id).order_by(Invitation.id.desc())
    invitation = db.session.scalars(newest).first()
    assert invitation is not None
    return tokens.derive_token(SECRET, invitations.PURPOSE, invitation.nonce)


@pytest.fixture
def invited(cast: Cast) -> str:
    """A contact of NW-2042 who is invited under a mistyped address."""
    with transaction():
        contract = contracts.find_contract(cast.other_contract)
        contacts.name_contact(contract, name="Nina", email="nnia@foods.example.org", actor=None, now=NOW)
    return "nnia@foods.example.org"


@pytest.mark.parametrize(
    ("name", "email", "error", "text"),
    [
        ("Zoe", "third@logistics.example.org", Conflict, "Both seats"),
        ("Alice", "alice@logistics.example.org", Conflict, "already holds a seat"),
        ("Zoe", "zoe@logistics.example.org\nBcc: everybody@example.net", Invalid, "line breaks"),
        ("Zoe\r\nBcc: x", "zoe@logistics.example.org", Invalid, "line breaks"),
        ("Zoe", "zoe at logistics", Invalid, "no email address"),
        ("", "zoe@logistics.example.org", Invalid, "Enter the name"),
    ],
)
def test_who_cannot_be_named_is_told_why(cast: Cast, name: str, email: str, error: type[PortalError], text: str) -> None:
    with pytest.raises(error, match=text), transaction():
        contacts.name_contact(contracts.find_contract(cast.contract), name=name, email=email, actor=None, now=NOW)
    assert len(contacts.live_contacts(contracts.find_contract(cast.contract).id)) == 2


@pytest.mark.parametrize(
    ("email", "text"), [("ada@vendor.example.org", "member of staff"), ("alice@logistics.example.org", "another organisation")]
)
def test_people_of_others_cannot_be_named(cast: Cast, email: str, text: str) -> None:
    with pytest.raises(Invalid, match=text), transaction():
        contacts.name_contact(contracts.find_contract(cast.other_contract), name="Zoe", email=email, actor=None, now=NOW)
    assert len(contacts.live_contacts(contracts.find_contract(cast.other_contract).id)) == 1


def test_a_corrected_address_gets_the_mail_and_the_old_link_is_dead(cast: Cast, invited: str) -> None:
    old_link = link_of(invited)
    with transaction():
        contacts.correct_address(seat_of(invited), "nina@foods.example.org", actor=None, now=NOW)
    with pytest.raises(Conflict):
        invitations.find_open(old_link, now=NOW)
    assert invitations.find_open(link_of("nina@foods.example.org"), now=NOW).contact.user.email == "nina@foods.example.org"
    assert people.find_person(invited) is None
    assert invited not in set(db.session.scalars(sa.select(Delivery.address)))


def test_an_address_can_be_corrected_to_a_colleague_who_is_known_already(cast: Cast, invited: str) -> None:
    with transaction():
        employer = contracts.find_contract(cast.other_contract).organization
        people.add_customer("nina@foods.example.org", "Nina", employer, actor=None, now=NOW)
        contacts.correct_address(seat_of(invited), "nina@foods.example.org", actor=None, now=NOW)
    assert seat_of("nina@foods.example.org").seat == 2
    assert not person(invited).active


def test_a_customer_named_by_mistake_stays_as_they_were_when_the_address_is_corrected(cast: Cast) -> None:
    before = NOW - timedelta(days=90)
    with transaction():
        contract = contracts.find_contract(cast.other_contract)
        people.add_customer("nora@foods.example.org", "Nora", contract.organization, actor=None, now=before)
        contacts.name_contact(contract, name="Nina", email="nora@foods.example.org", actor=None, now=NOW)
        contacts.correct_address(seat_of("nora@foods.example.org"), "nina@foods.example.org", actor=None, now=NOW)
    assert seat_of("nina@foods.example.org").seat == 2
    assert person("nora@foods.example.org").active
    assert person("nora@foods.example.org").name == "Nora"


@pytest.mark.parametrize(
    "email", ["carol@foods.example.org", "ada@vendor.example.org", "alice@logistics.example.org", "nonsense", "nnia@foods.example.org"]
)
def test_an_address_cannot_be_corrected_to_one_that_may_not_sit_there(cast: Cast, invited: str, email: str) -> None:
    with pytest.raises((Conflict, Invalid)), transaction():
        contacts.correct_address(seat_of(invited), email, actor=None, now=NOW)
    assert seat_of(invited).seat == 2


def test_the_address_of_somebody_who_signs_in_is_not_corrected_by_others(cast: Cast) -> None:
    with pytest.raises(Conflict, match="accepted"), transaction():
        contacts.correct_address(seat_of(cast.carol), "other@foods.example.org", actor=None, now=NOW)


def test_a_token_speaks_for_its_seat_until_it_is_revoked(cast: Cast) -> None:
    alice = person(cast.alice)
    with transaction():
        token = access_tokens.create(seat_of(cast.alice).id, "build server", actor=alice, now=NOW)
    found = access_tokens.authenticate(token, TokenPurpose.DOWNLOAD)
    assert found is not None
    assert found.user_id == alice.id
    with transaction():
        access_tokens.touch(token, now=NOW)
        access_tokens.revoke(access_tokens.tokens_of(alice)[0].id, actor=alice, now=NOW)
    assert access_tokens.authenticate(token, TokenPurpose.DOWNLOAD) is None
    assert access_tokens.authenticate("", TokenPurpose.DOWNLOAD) is None
    assert access_tokens.authenticate("\udcff\x00", TokenPurpose.DOWNLOAD) is None


def test_a_token_dies_with_the_seat_and_with_the_account(cast: Cast) -> None:
    with transaction():
        of_alice = access_tokens.create(seat_of(cast.alice).id, "a", actor=person(cast.alice), now=NOW)
        of_bob = access_tokens.create(seat_of(cast.bob).id, "b", actor=person(cast.bob), now=NOW)
        contacts.release_contact(seat_of(cast.alice), actor=None, now=NOW)
        person(cast.bob).active = False
    assert access_tokens.authenticate(of_alice, TokenPurpose.DOWNLOAD) is None
    assert access_tokens.authenticate(of_bob, TokenPurpose.DOWNLOAD) is None


def test_nobody_makes_or_revokes_a_token_of_somebody_elses_seat(cast: Cast) -> None:
    with pytest.raises(NotFound), transaction():
        access_tokens.create(seat_of(cast.alice).id, "mine now", actor=person(cast.bob), now=NOW)
    with transaction():
        access_tokens.create(seat_of(cast.alice).id, "build server", actor=person(cast.alice), now=NOW)
    token_id = access_tokens.tokens_of(person(cast.alice))[0].id
    with pytest.raises(NotFound), transaction():
        access_tokens.revoke(token_id, actor=person(cast.bob), now=NOW)
