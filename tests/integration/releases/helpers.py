"""Short ways to a release, through the functions that staff's pages use."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal.account.models import User
from portal.database import db, transaction
from portal.notices.models import Delivery, Notice
from portal.products import catalog
from portal.releases import builds, drafts, publishing
from portal.releases.models import Channel, Release
from portal.storage import store
from tests.conftest import NOW


def person(email: str) -> User:
    return db.session.scalars(sa.select(User).where(User.email == email)).one()


def make_draft(product: str = "macro-studio", version: str = "15.3b2", channel: Channel = Channel.BETA, **words: Any) -> int:
    """Commit a draft with one build, and return its id."""
    with transaction():
        release = drafts.create_release(catalog.find_product(product), version, channel, actor=None, now=NOW, **words)
        stored = store().write([f"{product} {version}".encode()], 1000)
        builds.add_build(release.id, f"{product}-{version}.msi", stored, platform="Windows 64-bit", actor=None, now=NOW)
        return release.id


def publish(release_id: int, now: datetime = NOW) -> None:
    with transaction():
        publishing.publish_release(release_id, actor=None, now=now)


def make_published(product: str = "macro-studio", version: str = "15.3b2", channel: Channel = Channel.BETA, **words: Any) -> int:
    release_id = make_draft(product, version, channel, **words)
    publish(release_id)
    return release_id


def get(release_id: int) -> Release:
    return db.session.scalars(sa.select(Release).where(Release.id == release_id)).one()


def mailed(kind: str = "release") -> list[str]:
    """The addresses of all deliveries of notices of `kind`, sorted."""
    rows = sa.select(Delivery.address).join(Notice, Notice.id == Delivery.notice_id).where(Notice.kind == kind)
    return sorted(db.session.scalars(rows))
