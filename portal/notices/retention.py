"""What is kept of mail, and how long: the texts, and the addresses they went to. States and counts stay."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.config import Settings
from portal.database import db
from portal.notices.models import OPEN_STATES, Delivery, Notice
from portal.notices.outbox import run_update

BATCH = 10_000


def forget_addresses(settings: Settings, now: datetime) -> int:
    """Blank name and address of some deliveries that were settled DELIVERY_ADDRESS_DAYS ago, and what the mail server said of them.

    The domain stays, for the counts by domain. Returns how many that were; 0 means that none is left.
    """
    if not settings.delivery_address_days:
        return 0
    limit = now - timedelta(days=settings.delivery_address_days)
    old = sa.select(Delivery.id).where(Delivery.created_at < limit, Delivery.address != "", Delivery.state.not_in(OPEN_STATES)).limit(BATCH)
    ids = list(db.session.scalars(old))
    if not ids:
        return 0
    return run_update(sa.update(Delivery).where(Delivery.id.in_(ids)).values(address="", name="", reply=None))


def forget_texts(settings: Settings, now: datetime) -> int:
    """Forget the rendered text of some notices that were made MAIL_BODY_DAYS ago and wait for nobody any more.

    Returns how many that were; 0 means that none is left.
    """
    if not settings.mail_body_days:
        return 0
    limit = now - timedelta(days=settings.mail_body_days)
    waiting = sa.exists().where(Delivery.notice_id == Notice.id, Delivery.state.in_(OPEN_STATES))
    # A JSON column that was emptied holds JSON's null or none at all.
    has_text = sa.cast(Notice.compiled, sa.Text) != "null"
    old = sa.select(Notice.id).where(Notice.created_at < limit, has_text, sa.not_(waiting)).limit(BATCH)
    ids = list(db.session.scalars(old))
    return run_update(sa.update(Notice).where(Notice.id.in_(ids)).values(compiled=sa.null())) if ids else 0
