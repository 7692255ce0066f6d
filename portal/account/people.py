"""People and their addresses."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from zoneinfo import available_timezones

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email

from portal import audit
from portal.account.models import Contact, Organization, Role, User
from portal.database import db, is_violation
from portal.errors import Conflict, Invalid
from portal.notices.models import OPEN_STATES, Delivery
from portal.text import clean_line


def normalize_email(address: str) -> str:
    """Return `address` the way it is stored: syntactically valid, without display name or quoting, in lower case.

    Raises Invalid for anything else, so that one address can never be read as two, or as a header.
    """
    address = clean_line(address, "email", 254)
    try:
        return validate_email(address, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise Invalid(f"{address} is no email address we can write to. {error}", "email") from None


def find_person(address: str) -> User | None:
    """Return the person with this (normalised) address, or None."""
    return db.session.scalar(sa.select(User).where(User.email == address))


def find_or_add_person(email: str, name: str, organization: Organization | None, *, now: datetime) -> User:
    """Return the person with this address, added if unknown. A known person keeps name and organisation if they have them.

    Raises Invalid for a bad address or name.
    """
    address = normalize_email(email)
    name = clean_line(name, "name", 120, required=False)
    person = find_person(address)
    if person is None:
        person = User(email=address, name=name, organization=organization, fs_uniquifier=uuid.uuid4().hex, active=True, created_at=now)
        db.session.add(person)
        _flush_address(address)
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
    """Add a person of a customer, without a seat: somebody who is mailed about releases.

    Raises Invalid for a bad address or name, and for an address that is known already.
    """
    address = normalize_email(email)
    if find_person(address) is not None:
        raise Invalid(f"{address} is known already. Search for it in the list of customers.", "email")
    person = find_or_add_person(address, name, organization, now=now)
    audit.record("customer.added", subject_type="user", subject_id=person.id, actor=actor, now=now)
    return person


def add_staff(email: str, name: str, roles: Iterable[str], *, actor: User | None, now: datetime) -> User:
    """Make a person a member of staff with `roles`, in addition to those held before.

    Raises Conflict for somebody who holds a customer's seat, Invalid for a bad address or name.
    """
    person = find_or_add_person(email, name, None, now=now)
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


def change_address(person: User, address: str) -> None:
    """Give a person another (normalised, unknown) address: waiting mail follows, links sent to the old one die."""
    person.email = address
    person.fs_uniquifier = uuid.uuid4().hex
    _flush_address(address)
    db.session.execute(sa.update(Delivery).where(Delivery.user_id == person.id, Delivery.state.in_(OPEN_STATES)).values(address=address))


def change_profile(person: User, *, name: str, time_zone: str | None) -> None:
    """Store what the person is called and the zone they read times in; no zone means the portal's.

    Raises Invalid for a bad name or an unknown zone.
    """
    person.name = clean_line(name, "name", 120, required=False)
    if time_zone and time_zone not in available_timezones():
        raise Invalid(f"{time_zone} is no IANA time zone. Choose one from the list.", "time_zone")
    person.time_zone = time_zone or None
    db.session.flush()
