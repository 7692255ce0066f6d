"""Short ways to an announcement, through the functions that staff's pages use."""

from datetime import datetime

import sqlalchemy as sa

from portal.database import db, transaction
from portal.notices import announcements
from portal.notices.announcements import Words
from portal.notices.models import Announcement, Delivery, Topic
from portal.products.catalog import find_product
from tests.conftest import NOW

BODY = "Macros could run programs.\n\n* Install **15.2.1**.\n"


def words(
    audience: str = "contacts",
    topic: Topic | None = None,
    *,
    product: str = "macro-studio",
    subject: str = "A hole is closed",
    body: str = BODY,
) -> Words:
    return Words(find_product(product).id, subject, body, audience, topic)


def make_draft(audience: str = "contacts", topic: Topic | None = None, **said: str) -> int:
    """Commit a draft and return its id."""
    with transaction():
        return announcements.create(words(audience, topic, **said), actor=None, now=NOW).id


def send(announcement_id: int, now: datetime = NOW) -> int:
    """Send a draft and return the id of its notice."""
    with transaction():
        announcements.send(announcement_id, actor=None, now=now)
        notice_id = announcements.find(announcement_id).notice_id
    assert notice_id is not None
    return notice_id


def get(announcement_id: int) -> Announcement:
    db.session.rollback()
    return db.session.get_one(Announcement, announcement_id)


def deliveries_of(notice_id: int) -> list[str]:
    """The addresses of a notice's deliveries, sorted."""
    return sorted(db.session.scalars(sa.select(Delivery.address).where(Delivery.notice_id == notice_id)))
