"""The two named contacts of a contract: named, released, replaced.

The database holds the limit of two seats (a check and two partial unique indexes); the lock on the contract only makes
the refusal friendly.
"""

from datetime import datetime

import sqlalchemy as sa

from portal import audit
from portal.account import invitations, people, seat_news, sessions
from portal.account.contracts import lock_contract
from portal.account.models import SEATS, AccessToken, Contact, Contract, Organization, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import subscriptions, suppression
from portal.text import clean_line


def name_contact(
    contract: Contract,
    *,
    name: str,
    email: str,
    actor: User | None,
    now: datetime,
    seat: int | None = None,
    invite: bool = True,
    tell: bool = False,
) -> Contact:
    """Name a person to a free seat (the first one, unless `seat` is given) and invite them by mail.

    Notices start at once; the invitation is only about signing in. Somebody who already has a password is told by the same
    mail, without having to choose one. With `tell`, the other contact and the account managers are told.
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
    if invite:
        invitations.refuse_too_many(contract.id, None, actor=actor, now=now)
    person = people.find_or_add_person(address, name, contract.organization, now=now)
    _hold_own(person, contract, actor)
    contact = Contact(contract=contract, contract_id=contract.id, seat=seat or free[0], user=person, named_at=now)
    db.session.add(contact)
    db.session.flush()
    subscriptions.start(person.id, contract.product_id, subscriptions.CONTACT_TOPICS, now=now)
    audit.record(
        "contact.named", subject_type="contract", subject_id=contract.id, actor=actor, now=now, seat=contact.seat, user_id=person.id
    )
    if invite:
        invitations.invite(contact, actor=actor, now=now)
    if tell:
        seat_news.tell(released=None, named=contact, colleagues=list(taken.values()), actor=actor, now=now)
    return contact


def release_contact(contact: Contact, *, actor: User | None, now: datetime) -> None:
    """Take a person off their seat, and tell everybody concerned. It stays free until somebody is named to it.

    At this moment the person's sessions, reset links, and the tokens and open invitations of the seat die. The row stays as
    history, and what the person wrote stays with the organisation. A seat of another contract is not touched, but its
    holder has to sign in again.
    Raises Conflict if the seat was released already.
    """
    _release(contact, actor=actor, now=now)
    seat_news.tell(released=contact, named=None, colleagues=live_contacts(contact.contract_id), actor=actor, now=now)


def replace_contact(contact: Contact, *, name: str, email: str, actor: User | None, now: datetime) -> Contact:
    """Give a contact's seat to another person: release, name and invite as one act, and tell everybody concerned.

    The seat is never empty: if the successor cannot be named, nothing has changed.
    Raises what `release_contact` and `name_contact` raise.
    """
    if people.normalize_email(email) == contact.user.email:
        raise Conflict(f"{contact.user.email} already holds this seat.")
    contract, seat = contact.contract, contact.seat
    _release(contact, actor=actor, now=now)
    named = name_contact(contract, name=name, email=email, actor=actor, now=now, seat=seat)
    others = [other for other in live_contacts(contract.id) if other.id != named.id]
    seat_news.tell(released=contact, named=named, colleagues=others, actor=actor, now=now)
    return named


def _release(contact: Contact, *, actor: User | None, now: datetime) -> None:
    lock_contract(contact.contract_id)
    db.session.refresh(contact)
    if contact.released_at is not None:
        raise Conflict("This seat was released already.")
    # A clock that was put back must not let a seat end before it began: who held it on a day would have no answer.
    contact.released_at = max(now, contact.named_at)
    sessions.end_all(contact.user, now=now)
    invitations.revoke_open(contact.id, now=now)
    db.session.execute(
        sa.update(AccessToken).where(AccessToken.contact_id == contact.id, AccessToken.revoked_at.is_(None)).values(revoked_at=now)
    )
    audit.record(
        "contact.released", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        seat=contact.seat, user_id=contact.user_id,
    )  # fmt: skip
    db.session.flush()


def usual_domains(organization_id: int) -> set[str]:
    """Return the domains at which the organisation's people are: the contacts of its contracts, now and before, and its customers.

    An address at another one may be a slip, or somebody who does not belong there. Empty when nobody is known.
    """
    domain = sa.func.substr(User.email, _position_of_at() + 1)
    known = sa.select(domain).where(User.organization_id == organization_id, User.active.is_(True)).distinct()
    return set(db.session.scalars(known))


def _position_of_at() -> sa.ColumnElement[int]:
    position = sa.func.strpos if db.engine.dialect.name == "postgresql" else sa.func.instr
    return position(User.email, "@", type_=sa.Integer())


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
    if contract.cancelled_at is not None:
        raise Conflict(f"Contract {contract.number} is cancelled, so nobody can be invited to it.")
    before = contact.user
    if before.password is not None:
        raise Conflict(f"{before.email} has accepted the invitation. Replace the contact instead.")
    address = people.normalize_email(email)
    if address == before.email:
        raise Invalid(f"The address is {address} already.", "email")
    invitations.refuse_too_many(contract.id, contact, actor=actor, now=now)
    meant, added_for_this = people.find_person(address), _was_added_for(contact)
    if meant is None and added_for_this:
        people.change_address(before, address)
        suppression.recall(address, now=now)
    else:
        meant = meant or people.find_or_add_person(address, before.name, contract.organization, now=now)
        _hold_own(meant, contract, actor)
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


def _hold_own(person: User, contract: Contract, actor: User | None) -> None:
    """Hold the person, so that they are neither erased nor made staff before the seat is theirs; raise what `refuse_stranger` raises."""
    people.hold(person)
    refuse_stranger(person, contract.organization, actor)


def refuse_stranger(person: User, organization: Organization | None, actor: User | None) -> None:
    """Raise Invalid for somebody known who cannot sit on a contract of `organization`; None is one that is yet to be made.

    A customer is not told why: who else we know is not theirs to know.
    """
    own = organization is not None and person.organization_id == organization.id
    if person.active and not person.is_staff and own:
        return
    if actor is not None and not actor.is_staff:
        raise Invalid(f"{person.email} cannot be named here. Use another address, or write to us.", "email")
    if not person.active:
        raise Invalid(f"The account of {person.email} is closed. Open it again, or use another address.", "email")
    if person.is_staff:
        raise Invalid(f"{person.email} is a member of staff and cannot hold a customer's seat.", "email")
    name = organization.name if organization is not None else "the contract's organisation"
    raise Invalid(f"{person.email} is known as a person of another organisation. Use an address of {name}.", "email")
