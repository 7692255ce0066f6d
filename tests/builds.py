"""Releases with builds of chosen bytes, through the functions that staff's pages use."""

from datetime import date, datetime

import sqlalchemy as sa

from portal.account.models import Contact, Contract, User
from portal.beta import terms
from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases import builds, drafts, publishing
from portal.releases.models import Build, Channel
from portal.storage import store

CONTENT = bytes(index * 7 % 251 for index in range(100_000))
NOTES = "The scheduler starts forty percent faster."


def publish_release(
    version: str,
    channel: Channel,
    now: datetime,
    *,
    product: str = "macro-studio",
    files: dict[str, bytes] | None = None,
    expires_on: date | None = None,
) -> int:
    """Publish a release with `files` (by name) and return its id."""
    with transaction():
        release = drafts.create_release(
            find_product(product), version, channel, notes=NOTES, known_issues="Pausing takes eight seconds.",
            what_to_test="Pause a macro.", expires_on=expires_on, actor=None, now=now,
        )  # fmt: skip
        for name, content in (files or {"studio.msi": CONTENT}).items():
            stored = store().write([content], len(content))
            builds.add_build(release.id, name, stored, platform="Windows 64-bit", actor=None, now=now)
        return publishing.publish_release(release.id, actor=None, now=now).id


def publish_terms(text: str, now: datetime, product: str = "macro-studio") -> int:
    """Publish the next version of a product's beta terms and return its number."""
    with transaction():
        return terms.publish(find_product(product), text, actor=None, now=now).version


def only_build() -> Build:
    return db.session.scalars(sa.select(Build)).one()


def find_user(email: str) -> User:
    return db.session.scalars(sa.select(User).where(User.email == email)).one()


def find_contract(number: str) -> Contract:
    return db.session.scalars(sa.select(Contract).where(Contract.number == number)).one()


def find_seat(email: str) -> Contact:
    """Return the only live seat of a person."""
    return db.session.scalars(
        sa.select(Contact).join(User, User.id == Contact.user_id).where(User.email == email, Contact.released_at.is_(None))
    ).one()
