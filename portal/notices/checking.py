"""What is asked at the second of sending: cancelled, paused, suppressed, closed, switched off, and what the kind asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from portal.database import db
from portal.notices import kinds
from portal.notices.control import CANCELLED
from portal.notices.kinds import Due
from portal.notices.models import Delivery, Notice, Subscription, Suppression

SUPPRESSED = "address suppressed"
CLOSED = "account closed"
SWITCHED_OFF = "switched off"

_users = sa.table("users", sa.column("id", sa.Integer), sa.column("active", sa.Boolean))


@dataclass(frozen=True)
class Verdict:
    """What must not go out now: the whole notice while it is paused, or single deliveries, by id, each with the reason."""

    paused: bool = False
    refused: Mapping[int, str] = field(default_factory=dict)


def check(notice_id: int, lease_id: int, people: Sequence[Due], now: datetime) -> Verdict:
    """Ask about the deliveries of one notice that a worker holds under a lease. Raises whatever a kind's check raises."""
    notice = db.session.get_one(Notice, notice_id, populate_existing=True)
    if notice.cancelled_at is not None:
        return Verdict(refused={one.id: CANCELLED for one in people})
    if notice.paused_at is not None:
        return Verdict(paused=True)
    # A test goes to whoever asked for it, who need not be one of the audience.
    is_test = notice.context.get("test") is True
    kind = kinds.find(notice.kind) if kinds.is_known(notice.kind) else None
    refused: dict[int, str] = {}
    if kind is not None and not is_test:
        refused.update(kind.check(notice, people, now))
    refused.update(_obstacles(notice, lease_id, ask_suppressed=not kinds.reaches_suppressed(notice.kind)))
    held = {one.id for one in people}
    return Verdict(refused={delivery_id: reason for delivery_id, reason in refused.items() if delivery_id in held})


def _obstacles(notice: Notice, lease_id: int, *, ask_suppressed: bool) -> dict[int, str]:
    """What stands against single deliveries, by one statement, however many there are. Mail without a topic always goes."""
    reasons: list[tuple[sa.ColumnElement[bool], str]] = []
    statement = sa.select(Delivery.id).where(Delivery.lease_id == lease_id, Delivery.notice_id == notice.id)
    if ask_suppressed:
        suppressed = sa.exists().where(Suppression.address == sa.func.lower(Delivery.address)).correlate(Delivery)
        reasons.append((suppressed, SUPPRESSED))
    if notice.topic is not None and notice.product_id is not None:
        active = sa.exists().where(_users.c.id == Delivery.user_id, _users.c.active.is_(True)).correlate(Delivery)
        wanted = (
            sa.exists()
            .where(
                Subscription.user_id == Delivery.user_id,
                Subscription.product_id == notice.product_id,
                Subscription.topic == notice.topic,
                Subscription.wanted.is_(True),
            )
            .correlate(Delivery)
        )
        reasons += [(sa.not_(active), CLOSED), (sa.not_(wanted), SWITCHED_OFF)]
    if not reasons:
        return {}
    why = sa.case(*((condition, sa.literal(reason)) for condition, reason in reasons))
    rows = db.session.execute(statement.add_columns(why.label("why")).where(sa.or_(*(condition for condition, _ in reasons))))
    return dict(rows.all())
