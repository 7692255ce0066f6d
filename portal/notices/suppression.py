"""Addresses that mail must not go to. Looked up at the second of sending."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from portal.database import db, insert
from portal.notices.models import Suppression


def add(address: str, reason: str, *, now: datetime) -> None:
    """Send no more mail to `address`. The first reason is kept."""
    values = {"address": address.lower(), "reason": reason[:200], "created_at": now}
    db.session.execute(insert(Suppression).values(values).on_conflict_do_nothing())


def lift(address: str) -> bool:
    """Let mail go to `address` again. Returns whether it was suppressed."""
    found = db.session.scalar(sa.delete(Suppression).where(Suppression.address == address.lower()).returning(Suppression.id))
    return found is not None


def suppressed(addresses: Iterable[str]) -> dict[str, str]:
    """Return those of `addresses` that are suppressed, in lower case, each with the reason."""
    rows = db.session.execute(
        sa.select(Suppression.address, Suppression.reason).where(Suppression.address.in_({address.lower() for address in addresses}))
    )
    return {row.address: row.reason for row in rows}
