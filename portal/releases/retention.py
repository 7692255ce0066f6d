"""How long the ledger of downloads knows from which network address a build was taken."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.config import Settings
from portal.database import db
from portal.notices.outbox import run_update
from portal.releases.models import Download

BATCH = 10_000


def forget_addresses(settings: Settings, now: datetime) -> int:
    """Forget the network addresses of some downloads that began DOWNLOAD_ADDRESS_DAYS ago. Returns how many; 0: none is left."""
    limit = now - timedelta(days=settings.download_address_days)
    old = sa.select(Download.id).where(Download.started_at < limit, Download.address.is_not(None)).limit(BATCH)
    ids = list(db.session.scalars(old))
    return run_update(sa.update(Download).where(Download.id.in_(ids)).values(address=None)) if ids else 0
