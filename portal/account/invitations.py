"""Invitations to take a seat: single use, and only the POST of a form uses one up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit, tokens
from portal.account.contracts import lock_contract
from portal.account.models import Contact, Contract, Invitation, User
from portal.config import current_settings
from portal.database import db
from portal.errors import Conflict, NotFound
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.text import clean_line
from portal.web.formatting import exact_time

KIND = "invitation"
PURPOSE = "invitation"
PATH = "/account/invitations"
# Invitations within a day to one person for one seat, whoever sends them, and for one contract by its own contacts: each is a mail to
# somebody who may not want it.
MOST_PER_SEAT, MOST_PER_CONTRACT = 5, 20


def invite(contact: Contact, *, actor: User | None, now: datetime) -> Invitation:
    """Invite a contact by mail; an open invitation of the same seat is revoked, so one link works at a time.

    Raises Conflict for a contact who holds the seat no more, and when so many were sent within a day.
    """
    lock_contract(contact.contract_id)
    if contact.released_at is not None:
        raise Conflict("This seat was released. Name the person again.")
    refuse_too_many(contact.contract_id, contact, actor=actor, now=now)
    revoke_open(contact.id, now=now)
    settings = current_settings()
    nonce = tokens.make_token()
    invitation = Invitation(
        contact=contact,
        nonce=nonce,
        token_hash=tokens.hash_token(tokens.derive_token(settings.secret_key, PURPOSE, nonce)),
        created_at=now,
        expires_at=now + timedelta(days=settings.invitation_days),
    )
    db.session.add(invitation)
    db.session.flush()
    person = sa.select(User.id, User.email, User.name).where(User.id == contact.user_id)
    context = {"invitation_id": invitation.id, "title": f"{contact.user.label}, {contact.contract.number}"}
    notice = outbox.enqueue(KIND, person, context=context, now=now, created_by_id=actor.id if actor else None)
    invitation.notice_id = notice.id
    audit.record(
        "contact.invited", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip
    return invitation


def refuse_too_many(contract_id: int, contact: Contact | None, *, actor: User | None, now: datetime) -> None:
    """Raise Conflict if so many invitations were sent within a day that this seat, or a contact of this contract, can send no more.

    Ask it before an address is looked up: afterwards the answer would tell, as often as somebody likes, who is known already.
    """
    lately = sa.select(sa.func.count()).select_from(Invitation).where(Invitation.created_at > now - timedelta(days=1))
    if contact is not None and (db.session.scalar(lately.where(Invitation.contact_id == contact.id)) or 0) >= MOST_PER_SEAT:
        raise Conflict(
            f"{contact.user.email} was sent {MOST_PER_SEAT} invitations within a day. Have them look in the spam folder, check the "
            "address, or try again tomorrow."
        )
    if actor is None or actor.is_staff:
        return
    here = lately.join(Contact, Contact.id == Invitation.contact_id).where(Contact.contract_id == contract_id)
    if (db.session.scalar(here) or 0) >= MOST_PER_CONTRACT:
        raise Conflict(f"{MOST_PER_CONTRACT} invitations were sent for this contract within a day. Try again tomorrow, or write to us.")


def resend(contact: Contact, *, actor: User | None, now: datetime) -> Invitation:
    """Send a new invitation with a new link; the old link stops working.

    Raises Conflict for somebody who has accepted already, and for a cancelled contract.
    """
    if contact.contract.cancelled_at is not None:
        raise Conflict(f"Contract {contact.contract.number} is cancelled, so nobody can be invited to it.")
    if contact.user.password is not None:
        raise Conflict(f"{contact.user.email} has an account already and signs in with its password.")
    return invite(contact, actor=actor, now=now)


def revoke_open(contact_id: int, *, now: datetime) -> int:
    """Make the open invitations of a contact worthless; return how many there were."""
    revoked = db.session.execute(
        sa.update(Invitation)
        .where(Invitation.contact_id == contact_id, Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(Invitation.id)
    )
    return len(revoked.all())


def revoke(contact: Contact, *, actor: User | None, now: datetime) -> None:
    """Withdraw the invitation of a contact, who keeps the seat. Raises Conflict if none is open."""
    if not revoke_open(contact.id, now=now):
        raise Conflict(f"No invitation of {contact.user.email} is open.")
    audit.record(
        "contact.invitation_revoked", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip


def find_open(token: str, *, now: datetime) -> Invitation:
    """Return the invitation of this link, with contact and contract, if it can still be accepted.

    Raises NotFound for an unknown link, and Conflict, with what to do, for one that was used, withdrawn or has expired.
    """
    invitation = db.session.scalar(
        sa.select(Invitation)
        .where(Invitation.token_hash == tokens.hash_token(token))
        .options(
            joinedload(Invitation.contact).joinedload(Contact.contract).joinedload(Contract.organization),
            joinedload(Invitation.contact).joinedload(Contact.contract).joinedload(Contract.product),
        )
    )
    if invitation is None:
        raise NotFound("We do not know this invitation. Open the link of the newest mail, whole, or ask for a new one.")
    if invitation.accepted_at is not None:
        raise Conflict("This invitation was accepted already. Sign in with the password chosen then, or reset it.")
    if invitation.revoked_at is not None or invitation.contact.released_at is not None:
        raise Conflict("This invitation was withdrawn or replaced by a newer one. Open the link of the newest mail.")
    if invitation.expires_at <= now:
        raise Conflict("This invitation has expired. Ask the other contact at your organisation, or us, to send it again.")
    return invitation


def note_opened(invitation_id: int, *, now: datetime) -> None:
    """Remember when the link was first opened. It uses nothing up: whoever opened it may have been a mail scanner."""
    db.session.execute(
        sa.update(Invitation)
        .where(Invitation.id == invitation_id, Invitation.opened_at.is_(None))
        .values(opened_at=now)
        .execution_options(synchronize_session=False)
    )


def accept(token: str, *, password_hash: str | None, name: str | None, now: datetime) -> User:
    """Use the invitation up, give its person the password and the name, and return the person.

    One UPDATE decides: of any number of requests with one link, one wins, and its password stands. `password_hash` is None
    for somebody who has a password already, and is never used in place of one.
    Raises what `find_open` raises, and Invalid for a bad name.
    """
    # In the order of whoever releases the seat: contract, then invitation. So one of the two comes first, and the other sees it.
    of_contract = sa.select(Contact.contract_id).join(Invitation, Invitation.contact_id == Contact.id)
    contract_id = db.session.scalar(of_contract.where(Invitation.token_hash == tokens.hash_token(token)))
    if contract_id is not None:
        lock_contract(contract_id)
    used = db.session.execute(
        sa.update(Invitation)
        .where(
            Invitation.token_hash == tokens.hash_token(token),
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > now,
            Invitation.contact_id.in_(sa.select(Contact.id).where(Contact.released_at.is_(None))),
        )
        .values(accepted_at=now)
        .returning(Invitation.contact_id)
        .execution_options(synchronize_session=False)
    ).scalar()
    if used is None:
        find_open(token, now=now)
        raise Conflict("This invitation was used a moment ago. Sign in with the password chosen then, or reset it.")
    contact = db.session.get_one(Contact, used)
    person = contact.user
    if not person.active:
        raise Conflict("This account is closed. Write to us, and we open it again.")
    if person.password is None:
        if password_hash is None:
            raise Conflict("Choose a password first.")
        person.password = password_hash
        person.name = clean_line(name or "", "name", 120, required=False) or person.name
    elif password_hash is not None:
        raise Conflict("You have chosen a password already. Sign in with it, then open the link again.")
    audit.record(
        "contact.accepted", subject_type="contract", subject_id=contact.contract_id, actor=person, now=now,
        seat=contact.seat, user_id=person.id,
    )  # fmt: skip
    db.session.flush()
    return person


_UNDELIVERED = {DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.SKIPPED}
_UNDERWAY = {DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.DEFERRED}


@dataclass(frozen=True)
class SeatState:
    """How far a contact has come.

    `accepted`: has an account. Of the newest invitation of one who has none: `queued` (its mail waits), `invited` (its mail was
    sent), `opened` (`at` is when), `undelivered` (`why` is what the mail server said), `expired`; `until` is its end. `waiting`:
    none was sent, or it was withdrawn.
    """

    name: str
    until: datetime | None = None
    at: datetime | None = None
    why: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether an invitation can be accepted, and so be withdrawn."""
        return self.name in {"queued", "invited", "opened", "undelivered"}


def seat_states(contacts: Sequence[Contact], now: datetime) -> dict[int, SeatState]:
    """Return how far each contact has come, by the contact's id, with one query for all, and none if all have an account."""
    newcomers = [contact.id for contact in contacts if contact.user.password is None]
    states = {contact.id: SeatState("accepted" if contact.user.password is not None else "waiting") for contact in contacts}
    if newcomers:
        newest = sa.select(sa.func.max(Invitation.id)).where(Invitation.contact_id.in_(newcomers)).group_by(Invitation.contact_id)
        rows = db.session.execute(
            sa.select(Invitation, Delivery.state, Delivery.reply, Delivery.reason)
            .outerjoin(Delivery, Delivery.notice_id == Invitation.notice_id)
            .where(Invitation.id.in_(newest), Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        )
        states.update({row[0].contact_id: _state_of(*row, now) for row in rows})
    return states


def _state_of(invitation: Invitation, mail: DeliveryState | None, reply: str | None, reason: str | None, now: datetime) -> SeatState:
    if invitation.expires_at <= now:
        return SeatState("expired", invitation.expires_at, invitation.opened_at)
    if invitation.opened_at is not None:
        return SeatState("opened", invitation.expires_at, invitation.opened_at)
    if mail in _UNDELIVERED:
        return SeatState("undelivered", invitation.expires_at, why=reply or reason)
    return SeatState("queued" if mail in _UNDERWAY else "invited", invitation.expires_at)


def _invitation(notice: Notice) -> Invitation:
    return db.session.get_one(Invitation, notice.context["invitation_id"])


def _still_open(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    invitation = _invitation(notice)
    open_ = invitation.accepted_at is None and invitation.revoked_at is None and invitation.expires_at > now
    return {} if open_ and invitation.contact.released_at is None else {delivery.id: "invitation not open" for delivery in deliveries}


def _shared(notice: Notice) -> Mapping[str, Any]:
    invitation = _invitation(notice)
    contact, contract = invitation.contact, invitation.contact.contract
    return {
        "contract_number": contract.number,
        "organization_name": contract.organization.name,
        "product_name": contract.product.name,
        "address": contact.user.email,
        "has_password": contact.user.password is not None,
        "expires": exact_time(invitation.expires_at, contact.user.time_zone or current_settings().default_time_zone),
    }


def _link(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """The link, derived at this second from the secret key: the outbox and the database never hold it."""
    settings = current_settings()
    token = tokens.derive_token(settings.secret_key, PURPOSE, _invitation(notice).nonce)
    return {"invitation_url": f"{settings.base_url}{PATH}/{token}"}


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(KIND, label="Invitation to a seat", check=_still_open, shared=_shared, personal=_link))
