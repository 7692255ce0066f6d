"""The people of a notice, a page at a time, and the domains their mail goes to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.database import db
from portal.errors import NotFound
from portal.notices import kinds
from portal.notices.models import OPEN_STATES, Delivery, DeliveryState, DomainPause, Notice, Suppression
from portal.notices.selection import EVERYBODY, Selection
from portal.notices.subscriptions import users

PAGE = 50
DOMAINS_SHOWN = 20
TROUBLED_STATES = (DeliveryState.DEFERRED, DeliveryState.BOUNCED, DeliveryState.FAILED)
ON_THE_WAY = (DeliveryState.QUEUED, DeliveryState.SENDING)


@dataclass(frozen=True)
class RecipientPage:
    """Some people of a notice.

    `counts` says how many of them are in each state, whatever state is selected; `retryable` how many a retry of the selection
    takes up, and `suppressed` how many of those are skipped all the same. `after` is where this page begins, `next_after` where
    the next one does, None at the end.
    """

    deliveries: Sequence[Delivery] = field(default_factory=list)
    selection: Selection = EVERYBODY
    counts: Mapping[DeliveryState, int] = field(default_factory=dict)
    retryable: int = 0
    suppressed: int = 0
    after: int = 0
    next_after: int | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def selected(self) -> int:
        """How many are in the selected state."""
        return self.total if self.selection.state is None else self.counts.get(self.selection.state, 0)


@dataclass(frozen=True)
class DomainLine:
    """How a notice fares at one domain. `reply` is what its mail server said of a pause, else one of its refusals."""

    domain: str
    total: int
    sent: int
    waiting: int
    deferred: int
    bounced: int
    failed: int
    skipped: int
    paused_until: datetime | None = None
    reply: str | None = None

    @property
    def has_trouble(self) -> bool:
        return bool(self.paused_until or self.deferred or self.bounced or self.failed)


@dataclass(frozen=True)
class DomainTable:
    """The domains with trouble, then the largest, DOMAINS_SHOWN of `total`."""

    lines: Sequence[DomainLine]
    total: int


def recipients(notice_id: int, selection: Selection = EVERYBODY, after_id: int = 0, limit: int = PAGE) -> RecipientPage:
    """Return the people of a notice that are selected, in the order they were added.

    Each state is walked on its own in the order of its index, so that a page costs the same however many there are.
    """
    states = list(DeliveryState) if selection.state is None else [selection.state]
    one_by_one = [
        sa.select(Delivery.id)
        .where(Delivery.notice_id == notice_id, Delivery.state == state, Delivery.id > after_id, *selection.places())
        .order_by(Delivery.id)
        .limit(limit + 1)
        .subquery()
        for state in states
    ]
    found = sa.union_all(*(sa.select(ids.c.id) for ids in one_by_one)).subquery()
    rows = list(
        db.session.scalars(sa.select(Delivery).where(Delivery.id.in_(sa.select(found.c.id))).order_by(Delivery.id).limit(limit + 1))
    )
    retryable = count_retryable(notice_id, selection)
    return RecipientPage(
        rows[:limit],
        selection,
        _counts(notice_id, selection),
        retryable,
        count_suppressed(notice_id, selection) if retryable else 0,
        after_id,
        rows[limit - 1].id if len(rows) > limit else None,
    )


def _counts(notice_id: int, selection: Selection) -> dict[DeliveryState, int]:
    counts = dict.fromkeys(DeliveryState, 0)
    grouped = sa.select(Delivery.state, sa.func.count()).where(Delivery.notice_id == notice_id, *selection.places())
    for state, count in db.session.execute(grouped.group_by(Delivery.state)):
        counts[state] = count
    return counts


def count_retryable(notice_id: int, selection: Selection = EVERYBODY) -> int:
    """Return how many deliveries `control.retry` would take up."""
    return db.session.scalar(sa.select(sa.func.count()).where(Delivery.notice_id == notice_id, selection.retryable())) or 0


def count_suppressed(notice_id: int, selection: Selection = EVERYBODY) -> int:
    """Return how many of what `control.retry` would take up is skipped at the second of sending: no mail goes to the address that
    the person has now."""
    notice = db.session.execute(sa.select(Notice.kind).where(Notice.id == notice_id)).one_or_none()
    if notice is None or kinds.reaches_suppressed(notice.kind):
        return 0
    there = users.c.id == Delivery.user_id
    met = sa.select(sa.func.count()).select_from(Delivery).join(users, there).join(Suppression, Suppression.address == users.c.email)
    return db.session.scalar(met.where(Delivery.notice_id == notice_id, selection.retryable())) or 0


def find_delivery(notice_id: int, delivery_id: int) -> Delivery:
    """Return a delivery of a notice, with the notice. Raises NotFound."""
    statement = sa.select(Delivery).where(Delivery.id == delivery_id, Delivery.notice_id == notice_id)
    delivery = db.session.scalar(statement.options(joinedload(Delivery.notice)))
    if delivery is None:
        raise NotFound(f"Notice {notice_id} has no mail {delivery_id}.")
    return delivery


def domains(notice_id: int, now: datetime, limit: int = DOMAINS_SHOWN) -> DomainTable:
    """Return how a notice fares at its domains: those paused now first, then by trouble, then by size.

    Reads every delivery of the notice, so a page that refreshes itself asks for it at its leisure.
    """
    troubled = Delivery.state.in_(TROUBLED_STATES)
    here = (
        sa.select(
            Delivery.domain,
            sa.func.count().label("total"),
            _how_many(Delivery.state == DeliveryState.SENT).label("sent"),
            _how_many(Delivery.state.in_(ON_THE_WAY)).label("waiting"),
            *(_how_many(Delivery.state == state).label(state.value) for state in (*TROUBLED_STATES, DeliveryState.SKIPPED)),
            _how_many(Delivery.state.in_(OPEN_STATES)).label("open"),
            _how_many(troubled).label("trouble"),
            sa.func.max(sa.case((troubled, Delivery.reply))).label("reply"),
        )
        .where(Delivery.notice_id == notice_id)
        .group_by(Delivery.domain)
        .subquery()
    )
    held = sa.and_(DomainPause.domain == here.c.domain, DomainPause.until > now, here.c.open > 0)
    rows = db.session.execute(
        sa.select(here, DomainPause.until.label("until"), DomainPause.reply.label("pause_reply"), sa.func.count().over().label("domains"))
        .select_from(here)
        .outerjoin(DomainPause, held)
        .order_by(DomainPause.until.is_(None), here.c.trouble.desc(), here.c.total.desc(), here.c.domain)
        .limit(limit)
    ).all()
    return DomainTable([_line(row) for row in rows], rows[0].domains if rows else 0)


def _how_many(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _line(row: Any) -> DomainLine:
    numbers = (row.total, row.sent, row.waiting, row.deferred, row.bounced, row.failed, row.skipped)
    return DomainLine(row.domain, *numbers, paused_until=row.until, reply=row.pause_reply or row.reply)
