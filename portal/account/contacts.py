"""The two named contacts of a contract: named, released, replaced.

The database holds the limit of two seats (a check and two partial unique indexes); the lock on the contract only makes
the refusal friendly.
"""

import uuid
from datetime import datetime

import sqlalchemy as sa

from portal import audit
from portal.account import invitations, people
from portal.account.contracts import lock_contract
from portal.account.models import SEATS, AccessToken, Contact, Contract, User, UserSession
from portal.database import db
from portal.errors import Conflict, Invalid
from portal.notices import subscriptions
from portal.text import clean_line


def name_contact(
    contract: Contract, *, name: str, email: str, actor: User | None, now: datetime, seat: int | None = None, invite: bool = True
) -> Contact:
    """Name a person to a free seat (the first one, unless `seat` is given) and invite them by mail.

    Notices start at once; the invitation is only about signing in. Somebody who already has a password is told by the same
    mail, without having to choose one.
    Raises Conflict when both seats are taken or the person already holds one; Invalid for a bad name or address, or for
    staff and people of another organisation.
    """
    clean_line(name, "name", 120)
    contract = lock_contract(contract.id)
    person = people.find_or_add_person(email, name, contract.organization, now=now)
    _refuse_strangers(person, contract)
    taken = {contact.seat: contact for contact in live_contacts(contract.id)}
    if any(contact.user_id == person.id for contact in taken.values()):
        raise Conflict(f"{person.email} already holds a seat of contract {contract.number}.")
    free = [number for number in SEATS if number not in taken]
    if not free or (seat is not None and seat not in free):
        raise Conflict(f"Both seats of contract {contract.number} are taken. Replace one of the two contacts.")
    contact = Contact(contract_id=contract.id, seat=seat or free[0], user=person, named_at=now)
    db.session.add(contact)
    db.session.flush()
    subscriptions.start(person.id, contract.product_id, subscriptions.CONTACT_TOPICS, now=now)
    audit.record(
        "contact.named", subject_type="contract", subject_id=contract.id, actor=actor, now=now, seat=contact.seat, user_id=person.id
    )
    if invite:
        invitations.invite(contact, actor=actor, now=now)
    return contact


def release_contact(contact: Contact, *, actor: User | None, now: datetime) -> None:
    """Take a person off their seat. At this moment their sessions, tokens and open invitations of the seat die.

    The row stays as history, and what the person wrote stays with the organisation.
    Raises Conflict if the seat was released already.
    """
    lock_contract(contact.contract_id)
    db.session.refresh(contact)
    if contact.released_at is not None:
        raise Conflict("This seat was released already.")
    contact.released_at = now
    end_sessions(contact.user, now=now)
    invitations.revoke_open(contact.id, now=now)
    db.session.execute(
        sa.update(AccessToken).where(AccessToken.contact_id == contact.id, AccessToken.revoked_at.is_(None)).values(revoked_at=now)
    )
    audit.record(
        "contact.released", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip
    db.session.flush()


def replace_contact(contact: Contact, *, name: str, email: str, actor: User | None, now: datetime) -> Contact:
    """Give a contact's seat to another person: release, name and invite as one act.

    Raises what `release_contact` and `name_contact` raise; then nothing has changed.
    """
    if people.normalize_email(email) == contact.user.email:
        raise Conflict(f"{contact.user.email} already holds this seat.")
    contract, seat = contact.contract, contact.seat
    release_contact(contact, actor=actor, now=now)
    return name_contact(contract, name=name, email=email, actor=actor, now=now, seat=seat)


def end_sessions(person: User, *, now: datetime) -> None:
    """Sign a person out everywhere: all session rows end, and remembered cookies and signed links lose their subject."""
    person.fs_uniquifier = uuid.uuid4().hex
    db.session.execute(sa.update(UserSession).where(UserSession.user_id == person.id, UserSession.ended_at.is_(None)).values(ended_at=now))


def live_contacts(contract_id: int) -> list[Contact]:
    """Return the contacts who hold a seat of the contract, by seat."""
    return list(
        db.session.scalars(
            sa.select(Contact).where(Contact.contract_id == contract_id, Contact.released_at.is_(None)).order_by(Contact.seat)
        )
    )


def _refuse_strangers(person: User, contract: Contract) -> None:
    if person.is_staff:
        raise Invalid(f"{person.email} is a member of staff and cannot hold a customer's seat.", "email")
    if person.organization_id != contract.organization_id:
        raise Invalid(
            f"{person.email} is known as a person of another organisation. Use an address of {contract.organization.name}.", "email"
        )
