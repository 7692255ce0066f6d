"""The two named contacts of a contract: named, released, replaced.

The database holds the limit of two seats (a check and two partial unique indexes); the lock on the contract only makes
the refusal friendly.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal import audit
from portal.account import invitations, people, sessions
from portal.account.contracts import lock_contract
from portal.account.models import SEATS, AccessToken, Contact, Contract, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import outbox, subscriptions
from portal.notices.kinds import Kind, register
from portal.notices.models import Notice
from portal.text import clean_line

RELEASED = "contact_released"
NAMED = "contact_named"


def name_contact(
    contract: Contract, *, name: str, email: str, actor: User | None, now: datetime, seat: int | None = None, invite: bool = True
) -> Contact:
    """Name a person to a free seat (the first one, unless `seat` is given) and invite them by mail.

    Notices start at once; the invitation is only about signing in. Somebody who already has a password is told by the same
    mail, without having to choose one.
    Raises Conflict when both seats are taken, the person already holds one, or the contract is cancelled; Invalid for a bad
    name or address, or for staff, closed accounts and people of another organisation.
    """
    clean_line(name, "name", 120)
    contract = lock_contract(contract.id)
    if contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is cancelled, so nobody can be named to it.")
    taken = {contact.seat: contact for contact in live_contacts(contract.id)}
    address = people.normalize_email(email)
    if any(contact.user.email == address for contact in taken.values()):
        raise Conflict(f"{address} already holds a seat of contract {contract.number}.")
    free = [number for number in SEATS if number not in taken]
    if not free or (seat is not None and seat not in free):
        raise Conflict(f"Both seats of contract {contract.number} are taken. Replace one of the two contacts.")
    person = people.find_or_add_person(address, name, contract.organization, now=now)
    _refuse_strangers(person, contract, actor)
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
    sessions.end_all(contact.user, now=now)
    invitations.revoke_open(contact.id, now=now)
    db.session.execute(
        sa.update(AccessToken).where(AccessToken.contact_id == contact.id, AccessToken.revoked_at.is_(None)).values(revoked_at=now)
    )
    audit.record(
        "contact.released", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip
    _tell(RELEASED, contact.user_id, contact, actor=actor, now=now)
    db.session.flush()


def replace_contact(contact: Contact, *, name: str, email: str, actor: User | None, now: datetime) -> Contact:
    """Give a contact's seat to another person: release, name and invite as one act, and tell all three concerned.

    Raises what `release_contact` and `name_contact` raise; then nothing has changed.
    """
    if people.normalize_email(email) == contact.user.email:
        raise Conflict(f"{contact.user.email} already holds this seat.")
    contract, seat = contact.contract, contact.seat
    release_contact(contact, actor=actor, now=now)
    named = name_contact(contract, name=name, email=email, actor=actor, now=now, seat=seat)
    for colleague in live_contacts(contract.id):
        if colleague.id != named.id:
            _tell(NAMED, colleague.user_id, named, actor=actor, now=now)
    return named


def correct_address(contact: Contact, email: str, *, actor: User | None, now: datetime) -> Contact:
    """Give an invited contact the address that was meant, and send the invitation there; the old link stops working.

    Mail that waits for the mistyped address goes to the right one, and nothing more is ever sent to the wrong one; but a
    customer who was known before, and named by mistake, stays one.
    Raises Conflict for a contact who has accepted or was released, or an address that sits on the contract already; Invalid
    for a bad address, staff, and people of another organisation.
    """
    contract = lock_contract(contact.contract_id)
    db.session.refresh(contact)
    if contact.released_at is not None:
        raise Conflict("This seat was released already.")
    before = contact.user
    if before.password is not None:
        raise Conflict(f"{before.email} has accepted the invitation. Replace the contact instead.")
    address = people.normalize_email(email)
    if address == before.email:
        raise Invalid(f"The address is {address} already.", "email")
    meant, added_for_this = people.find_person(address), _was_added_for(contact)
    if meant is None and added_for_this:
        people.change_address(before, address)
    else:
        meant = meant or people.find_or_add_person(address, before.name, contract.organization, now=now)
        _refuse_strangers(meant, contract, actor)
        if any(other.user_id == meant.id for other in live_contacts(contract.id)):
            raise Conflict(f"{address} already holds a seat of contract {contract.number}.")
        contact.user = meant
        if added_for_this:
            before.active = False
        db.session.flush()
        subscriptions.start(meant.id, contract.product_id, subscriptions.CONTACT_TOPICS, now=now)
    audit.record(
        "contact.address_corrected", subject_type="contract", subject_id=contract.id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip
    invitations.invite(contact, actor=actor, now=now)
    return contact


def find_contact(contract: Contract, contact_id: int) -> Contact:
    """Return a contact who holds a seat of `contract`. Raises NotFound for any other."""
    contact = db.session.scalar(
        sa.select(Contact).where(Contact.id == contact_id, Contact.contract_id == contract.id, Contact.released_at.is_(None))
    )
    if contact is None:
        raise NotFound("There is no such contact.")
    return contact


def live_contacts(contract_id: int) -> list[Contact]:
    """Return the contacts who hold a seat of the contract, by seat."""
    return list(
        db.session.scalars(
            sa.select(Contact).where(Contact.contract_id == contract_id, Contact.released_at.is_(None)).order_by(Contact.seat)
        )
    )


def _was_added_for(contact: Contact) -> bool:
    """Whether the contact's person is known through this seat alone: not a customer before, and never named to another one."""
    elsewhere = sa.select(sa.exists().where(Contact.user_id == contact.user_id, Contact.id != contact.id))
    return contact.user.created_at >= contact.named_at and not db.session.scalar(elsewhere)


def _tell(kind: str, user_id: int, about: Contact, *, actor: User | None, now: datetime) -> None:
    person = sa.select(User.id, User.email, User.name).where(User.id == user_id)
    context = {"contact_id": about.id, "title": f"{about.user.label}, {about.contract.number}"}
    outbox.enqueue(kind, person, context=context, now=now, created_by_id=actor.id if actor else None)


def _shared(notice: Notice) -> Mapping[str, Any]:
    contact = db.session.get_one(Contact, notice.context["contact_id"])
    contract = contact.contract
    return {
        "contact_name": contact.user.label,
        "contract_number": contract.number,
        "organization_name": contract.organization.name,
        "product_name": contract.product.name,
    }


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(RELEASED, label="Told that a seat was released", shared=_shared))
    register(Kind(NAMED, label="Told of a new colleague", shared=_shared))


def _refuse_strangers(person: User, contract: Contract, actor: User | None) -> None:
    """Raise Invalid for somebody who cannot sit on the contract. A customer is not told why: who else we know is not theirs to know."""
    if person.active and not person.is_staff and person.organization_id == contract.organization_id:
        return
    if actor is not None and not actor.is_staff:
        raise Invalid(f"{person.email} cannot be named here. Use another address, or write to us.", "email")
    if not person.active:
        raise Invalid(f"The account of {person.email} is closed. Open it again, or use another address.", "email")
    if person.is_staff:
        raise Invalid(f"{person.email} is a member of staff and cannot hold a customer's seat.", "email")
    raise Invalid(f"{person.email} is known as a person of another organisation. Use an address of {contract.organization.name}.", "email")
