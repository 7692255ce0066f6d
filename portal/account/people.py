"""People and their addresses."""

import re
import unicodedata
import uuid
from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal import audit
from portal.account.models import Contact, Organization, Role, User, roles_users
from portal.clock import time_zones
from portal.database import db, is_violation
from portal.errors import Conflict, Invalid
from portal.notices import subscriptions, suppression
from portal.notices.models import OPEN_STATES, Delivery
from portal.text import clean_address, clean_line

LONGEST_LOCAL_PART = 64  # octets (RFC 5321, 4.5.3.1.1)
# Alphabets with letters that cannot be told from Latin ones.
_LIKE_LATIN = {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"}


def normalize_email(address: str) -> str:
    """Return `address` the way it is stored: syntactically valid, without display name or quoting, in lower case.

    Raises Invalid for anything else, so that one address can never be read as two, or as a header; and for one that is made to
    look like another.
    """
    normalized = clean_address(address)
    if len(normalized.rpartition("@")[0].encode()) > LONGEST_LOCAL_PART:
        raise Invalid(f"{normalized} is no email address we can write to: at most {LONGEST_LOCAL_PART} bytes stand before the @.", "email")
    if any(_looks_like_another(part) for part in re.split(r"[@.]", normalized)):
        raise Invalid(f"{normalized} mixes letters of several alphabets that look alike. Type it anew, letter by letter.", "email")
    return normalized


def _looks_like_another(part: str) -> bool:
    """Whether a part of an address mixes Latin letters with those of an alphabet that has the same shapes, or holds letters that are
    another way to write plain ones, such as full-width forms (Unicode Technical Standard 39)."""
    if part.isascii():
        return False
    scripts = {unicodedata.name(character, "").partition(" ")[0] for character in part if character.isalpha()}
    return unicodedata.normalize("NFKC", part) != part or ("LATIN" in scripts and not scripts.isdisjoint(_LIKE_LATIN))


def find_person(address: str) -> User | None:
    """Return the person with this (normalised) address, or None."""
    return db.session.scalar(sa.select(User).where(User.email == address))


def hold(person: User) -> None:
    """Read a person afresh, and hold them until the transaction ends: nobody erases them, closes the account, names them to a seat or makes
    them staff meanwhile. New rows that refer to them need not wait."""
    db.session.flush()  # or what was changed a moment ago would be read over
    db.session.refresh(person, with_for_update={"of": User, "key_share": True})


def find_active(user_id: int) -> User | None:
    """Return the person with this id, or None if there is none or the account is closed."""
    return db.session.scalar(sa.select(User).where(User.id == user_id, User.active.is_(True)))


def find_by_uniquifier(uniquifier: str) -> User | None:
    """Return the person whom cookies and signed links call `uniquifier`, or None if nobody is called so, or the account is closed."""
    return db.session.scalar(sa.select(User).where(User.fs_uniquifier == uniquifier, User.active.is_(True)))


def find_or_add_person(email: str, name: str, organization: Organization | None, *, now: datetime) -> User:
    """Return the person with this address, added if unknown. A known person keeps name and organisation if they have them.

    Somebody known by a public form alone is kept from now on, under the name given here.
    Raises Invalid for a bad address or name.
    """
    address = normalize_email(email)
    name = clean_line(name, "name", 120, required=False)
    person = find_person(address)
    if person is None:
        person = User(email=address, name=name, organization=organization, fs_uniquifier=uuid.uuid4().hex, active=True, created_at=now)
        db.session.add(person)
        _flush_address(address)
        suppression.recall(address, now=now)
    if person.provisional:
        person.name, person.provisional = name, False
    person.name = person.name or name
    if person.organization_id is None:
        person.organization = organization
    return person


def _flush_address(address: str) -> None:
    """Write a new address. Raises Conflict if somebody else has added it since we looked."""
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_users_email", "users.email"):
            raise Conflict(f"{address} was added a moment ago. Try again.") from None
        raise


def add_customer(email: str, name: str, organization: Organization | None, *, actor: User | None, now: datetime) -> User:
    """Add a person of a customer, without a seat. Nothing is mailed to them until they choose it.

    Raises Invalid for a bad address or name, and for an address that is known already, be it not by a public form alone.
    """
    address = normalize_email(email)
    known = find_person(address)
    if known is not None and not known.provisional:
        raise Invalid(f"{address} is known already. Search for it in the list of customers.", "email")
    person = find_or_add_person(address, name, organization, now=now)
    audit.record("customer.added", subject_type="user", subject_id=person.id, actor=actor, now=now)
    return person


def add_staff(email: str, name: str, roles: Iterable[str], *, actor: User | None, now: datetime) -> User:
    """Make a person a member of staff with `roles`, in addition to those held before.

    Raises Conflict for somebody who holds a customer's seat, Invalid for a bad address or name.
    """
    person = find_or_add_person(email, name, None, now=now)
    hold(person)
    seat = sa.select(sa.exists().where(Contact.user_id == person.id, Contact.released_at.is_(None)))
    if db.session.scalar(seat):
        raise Conflict(f"{person.email} holds a customer's seat. Release it first, or use another address.")
    known = {role.name: role for role in db.session.scalars(sa.select(Role))}
    wanted = sorted(set(roles) - person.role_names)
    for role in wanted:
        person.roles.append(known.get(role) or Role(name=role))
    db.session.flush()
    audit.record("staff.added", subject_type="user", subject_id=person.id, actor=actor, now=now, roles=wanted)
    return person


def account_managers() -> sa.Select[int, str, str]:
    """Select (id, address, name) of those who look after contracts: the role accounts, or admin where nobody has that."""
    manager = aliased(User)
    somebody = sa.exists().where(manager.active.is_(True), manager.roles.any(Role.name == "accounts"))
    # From the few roles to their holders, not through everybody: a notice to each of many contracts asks it for each.
    holders = (
        sa.select(roles_users.c.user_id)
        .join(Role, Role.id == roles_users.c.role_id)
        .where(sa.or_(Role.name == "accounts", sa.and_(Role.name == "admin", sa.not_(somebody))))
    )
    return sa.select(User.id, User.email, User.name).where(User.active.is_(True), User.id.in_(holders))


def change_address(person: User, address: str, *, confirmed: bool = False) -> None:
    """Give a person another (normalised, unknown) address: waiting mail follows, links sent to the old one die, and what was
    confirmed there is forgotten, unless the person has `confirmed` that the new one is theirs as well.

    Raises Conflict if somebody else has the address.
    """
    before, person.email = person.email, address
    person.fs_uniquifier = uuid.uuid4().hex
    _flush_address(address)
    if not confirmed:
        subscriptions.forget_confirmed(person.id)
    db.session.execute(
        sa.update(Delivery)
        .where(Delivery.user_id == person.id, Delivery.address == before, Delivery.state.in_(OPEN_STATES))
        .values(address=address, domain=address.rpartition("@")[2])
    )


def change_profile(person: User, *, name: str, time_zone: str | None) -> None:
    """Store what the person is called and the zone they read times in; no zone means the portal's.

    Raises Invalid for a bad name or an unknown zone.
    """
    person.name = clean_line(name, "name", 120, required=False)
    if time_zone and time_zone not in time_zones():
        raise Invalid(f"{time_zone} is no IANA time zone. Choose one from the list.", "time_zone")
    person.time_zone = time_zone or None
    db.session.flush()
