"""The outbox: a mail is a row in the caller's transaction, and a worker sends it after the commit.

Nothing is sent from here, and nothing can be lost between the act and its mail: both are committed, or neither.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal.database import after_commit, db
from portal.notices.models import Delivery, DeliveryState, Notice, Topic

# An audience selects three columns: user id, address, name.
Audience = sa.Select[int, str, str]

_wake: list[Callable[[], None]] = []


def enqueue(
    kind: str,
    audience: Audience,
    *,
    context: dict[str, Any],
    now: datetime,
    topic: Topic | None = None,
    product_id: int | None = None,
    key: str | None = None,
    created_by_id: int | None = None,
) -> Notice:
    """Put one notice for everybody in `audience` into the outbox, as part of the current transaction.

    The deliveries are made by one statement, whatever the size of the audience. `context` must be JSON and hold no secret.
    Raises IntegrityError if a notice with this `key` exists: there may be only one.
    """
    notice = Notice(kind=kind, topic=topic, product_id=product_id, key=key, context=context, created_at=now, created_by_id=created_by_id)
    db.session.add(notice)
    db.session.flush()
    people = audience.subquery()
    user_id, address, name = people.c
    rows = sa.select(
        sa.literal(notice.id), user_id, address, name, sa.literal(DeliveryState.QUEUED.value), sa.literal(0),
        sa.literal(now, Delivery.created_at.type), sa.literal(now, Delivery.created_at.type),
    )  # fmt: skip
    columns = ["notice_id", "user_id", "address", "name", "state", "attempts", "created_at", "next_attempt_at"]
    db.session.execute(sa.insert(Delivery).from_select(columns, rows))
    after_commit(_wake_workers)
    return notice


def on_enqueue(wake: Callable[[], None]) -> None:
    """Register what wakes a worker after a commit that put something into the outbox."""
    _wake[:] = [wake]


def _wake_workers() -> None:
    for wake in _wake:
        wake()
