"""People and their addresses."""

import uuid
from datetime import datetime

import sqlalchemy as sa
from email_validator import EmailNotValidError, validate_email

from portal.account.models import Organization, User
from portal.database import db
from portal.errors import Invalid
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
        db.session.flush()
    person.name = person.name or name
    if person.organization_id is None:
        person.organization = organization
    return person
