"""What dies at the moment a seat is released, what stays, and who is told."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask_security.recoverable import generate_reset_password_token, reset_password_token_status

from portal.account import access_tokens, contacts, contracts, invitations, people
from portal.account.entitlements import Benefit, decide
from portal.account.models import AccessToken, Contact, Contract, Invitation, TokenPurpose, User, UserSession
from portal.account.sessions import begin, find
from portal.config import Settings, current_settings
from portal.database import db, transaction
from portal.errors import Conflict, Invalid
from portal.feedback.models import Item, Vote
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.products.models import Product
from portal.releases.models import Channel
from tests import board
from tests.builds import find_contract, find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW, make_settings
from tests.smtp import MailServer

pytestmark = pytest.mark.usefixtures("app_context")
LATER = NOW + timedelta(minutes=5)


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url, smtp_timeout=5)


def release(email: str, actor: User | None = None) -> None:
    with transaction():
        contacts.release_contact(find_seat(email), actor=actor, now=LATER)


def told() -> set[tuple[str, str]]:
    """Kind and address of all mail in the outbox."""
    return set(db.session.execute(sa.select(Notice.kind, Delivery.address).join(Delivery, Delivery.notice_id == Notice.id)))


def second_contract(cast: Cast, *emails: str) -> Contract:
    """A contract of alice's organisation for the other product, with these contacts."""
    with transaction():
        first = find_contract(cast.contract)
        product = db.session.scalars(sa.select(Product).where(Product.slug == cast.other_product)).one()
        second = contracts.create_contract(
            "NW-2999", first.organization, product, NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        for email in emails:
            contacts.name_contact(second, name="Somebody", email=email, actor=None, now=NOW)
    return second


def seat_on(contract: Contract, email: str) -> Contact:
    return next(contact for contact in contacts.live_contacts(contract.id) if contact.user.email == email)


def test_sessions_tokens_and_links_of_the_seat_are_dead(cast: Cast) -> None:
    settings = current_settings()
    with transaction():
        alice = find_user(cast.alice)
        cookie = begin(alice, device="laptop", now=NOW)
        download = access_tokens.create(find_seat(cast.alice).id, "curl", actor=alice, now=NOW)
        feed = access_tokens.create(find_seat(cast.alice).id, "reader", purpose=TokenPurpose.FEED, actor=alice, now=NOW)
    uniquifier, reset = alice.fs_uniquifier, generate_reset_password_token(alice)  # type: ignore[no-untyped-call]
    assert find(cookie, uniquifier, settings, LATER) is not None
    assert reset_password_token_status(reset)[2] is not None  # type: ignore[no-untyped-call]
    release(cast.alice)
    assert find(cookie, uniquifier, settings, LATER) is None
    assert find(cookie, find_user(cast.alice).fs_uniquifier, settings, LATER) is None
    assert db.session.scalars(sa.select(UserSession.ended_at).where(UserSession.user_id == alice.id)).all() == [LATER]
    assert access_tokens.authenticate(download, TokenPurpose.DOWNLOAD) is None
    assert access_tokens.authenticate(feed, TokenPurpose.FEED) is None
    assert set(db.session.scalars(sa.select(AccessToken.revoked_at))) == {LATER}
    assert reset_password_token_status(reset)[2] is None  # type: ignore[no-untyped-call]


def test_an_open_invitation_of_the_seat_is_dead_and_its_mail_is_not_sent(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        contacts.name_contact(find_contract(cast.other_contract), name="Nina", email="nina@foods.example.org", actor=None, now=NOW)
    release("nina@foods.example.org")
    assert db.session.scalars(sa.select(Invitation.revoked_at)).all() == [LATER]
    deliver_due(now=lambda: LATER)
    of_invitation = sa.select(Delivery.state, Delivery.reason).join(Notice).where(Notice.kind == invitations.KIND)
    assert db.session.execute(of_invitation).all() == [(DeliveryState.SKIPPED, "invitation not open")]
    assert len(mail_server.to("nina@foods.example.org")) == 1  # that the seat is released


def test_notices_that_wait_are_skipped_and_feedback_stays_with_the_organisation(cast: Cast, mail_server: MailServer) -> None:
    publish_release("15.3b2", Channel.BETA, NOW)
    item_id = board.write(cast.alice)
    release(cast.alice)
    deliver_due(now=lambda: LATER)
    of_release = sa.select(Delivery.address, Delivery.state).join(Notice).where(Notice.kind == "release")
    states = dict(db.session.execute(of_release).all())
    assert (states[cast.alice], states[cast.bob]) == (DeliveryState.SKIPPED, DeliveryState.SENT)
    assert db.session.get_one(Item, item_id).organization_id == find_contract(cast.contract).organization_id
    votes = db.session.scalars(sa.select(Vote.contract_id).where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None))).all()
    assert votes == [find_contract(cast.contract).id]


@pytest.mark.parametrize("actor", ["bob", "anton", None])
def test_the_other_contact_and_the_account_managers_are_told_unless_they_did_it_themselves(cast: Cast, actor: str | None) -> None:
    release(cast.alice, find_user(getattr(cast, actor)) if actor else None)
    expected = {("contact_released", cast.alice), ("contact_left", cast.bob), ("seats_changed", cast.anton)}
    assert told() == expected - ({("seats_changed", cast.anton)} if actor == "anton" else set())


def test_whoever_hands_over_their_own_seat_is_told_so_themselves(cast: Cast) -> None:
    with transaction():
        contacts.replace_contact(
            find_seat(cast.alice), name="Nina", email="nina@logistics.example.org", actor=find_user(cast.alice), now=NOW
        )
    assert told() == {
        ("contact_released", cast.alice), ("contact_named", cast.bob), ("invitation", "nina@logistics.example.org"),
        ("seats_changed", cast.anton),
    }  # fmt: skip


def test_a_seat_of_another_contract_keeps_its_rights_its_tokens_and_its_invitation(cast: Cast) -> None:
    first = find_seat(cast.alice).id
    second = second_contract(cast, cast.alice)
    with transaction():
        token = access_tokens.create(seat_on(second, cast.alice).id, "curl", actor=find_user(cast.alice), now=NOW)
    with transaction():
        contacts.release_contact(db.session.get_one(Contact, first), actor=None, now=LATER)
    alice = find_user(cast.alice)
    assert not decide(alice, Benefit.BETAS, find_contract(cast.contract).product, LATER).allowed
    assert decide(alice, Benefit.BETAS, second.product, LATER).allowed
    assert access_tokens.authenticate(token, TokenPurpose.DOWNLOAD) is not None
    assert db.session.scalars(sa.select(Invitation.revoked_at)).all() == [None]


def test_nobody_is_on_both_sides(cast: Cast) -> None:
    """Staff hold no seat, and whoever holds one becomes staff only after it is released."""
    with pytest.raises(Invalid, match="member of staff"), transaction():
        contacts.name_contact(find_contract(cast.other_contract), name="Ada", email=cast.ada, actor=None, now=NOW)
    with pytest.raises(Conflict, match="holds a customer's seat"), transaction():
        people.add_staff(cast.carol, "Carol", ["accounts"], actor=None, now=NOW)


def test_a_replacement_that_fails_changes_nothing_and_tells_nobody(cast: Cast) -> None:
    for email in (cast.bob, cast.ada, cast.carol, "nonsense"):
        with pytest.raises((Conflict, Invalid)), transaction():
            contacts.replace_contact(find_seat(cast.alice), name="N", email=email, actor=None, now=NOW)
    assert [contact.user.email for contact in contacts.live_contacts(find_contract(cast.contract).id)] == [cast.alice, cast.bob]
    assert told() == set()


def test_the_mails_say_who_took_over_from_whom_and_who_did_it(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        contacts.replace_contact(find_seat(cast.alice), name="Nina", email="nina@logistics.example.org", actor=find_user(cast.bob), now=NOW)
    with transaction():
        contacts.name_contact(
            find_contract(cast.other_contract), name="Nils", email="nils@foods.example.org", actor=find_user(cast.carol), now=NOW, tell=True
        )
    release("nils@foods.example.org")
    deliver_due(now=lambda: LATER)
    assert set(db.session.scalars(sa.select(Delivery.state))) <= {DeliveryState.SENT, DeliveryState.SKIPPED}
    assert db.session.scalars(sa.select(Notice.pause_reason).where(Notice.pause_reason.is_not(None))).all() == []

    def texts(address: str) -> list[str]:
        """Subject and text of what was sent to an address, in one line each."""
        found = []
        for mail in (one.message for one in mail_server.to(address)):
            body = mail.get_body(("plain",))
            assert body is not None
            found.append(" ".join(f"{mail['Subject']}: {body.get_content()}".split()))
        return found

    (to_bob,) = texts(cast.bob)
    assert "Nina took over the other seat from Alice Example, named by Bob Example" in to_bob
    of_staff = texts(cast.anton)
    changed, named, free = (
        next(text for text in of_staff if words in text) for words in ("took over a seat", "was named to a seat", "no longer holds a seat")
    )
    assert "Example Logistics: Nina took over a seat of contract NW-2041" in changed
    assert "Alice Example (alice@logistics.example.org) no longer holds it" in changed
    assert "Nina (nina@logistics.example.org) was named to it by Bob Example" in changed
    assert "Nils was named to a seat of contract NW-2042" in named
    assert "Nils no longer holds a seat of contract NW-2042" in free
    assert f"{current_settings().base_url}/staff/contracts/NW-2042/" in free
    assert any("You can name somebody else to the seat" in text for text in texts(cast.carol))
