"""The outbox: a mail is a row in the caller's transaction, and a worker sends it after the commit.

Nothing is sent from here, and nothing can be lost between the act and its mail: both are committed, or neither.
A worker takes deliveries with a lease (`claim`), tells how each ended (`settle`), and what a dead worker held becomes
due again when its lease has run out.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal.database import after_commit, db
from portal.notices.models import Delivery, DeliveryState, Notice, Topic

# An audience selects three columns: user id, address, name.
Audience = sa.Select[int, str, str]

LEASE = timedelta(seconds=20)
GIVE_UP_AFTER = timedelta(hours=72)
FIRST_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(hours=2)
REPLY_LENGTH = 500
REASON_LENGTH = 60
CANCELLED = "cancelled"

_wake: list[Callable[[], None]] = []


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a delivery ended.

    `state` is sent, deferred, bounced, failed or skipped. `reply` is the mail server's answer, `reason` our own words.
    A deferral waits for a time that grows with the attempts, up to `longest_delay`.
    """

    delivery_id: int
    state: DeliveryState
    reply: str | None = None
    reason: str | None = None
    longest_delay: timedelta = LONGEST_DELAY


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

    The deliveries are made by one statement, whatever the size of the audience. `context` must be JSON and hold no secret;
    `{"test": True}` in it, with no topic, makes a test mail: its kind's check is not asked and "[Test]" stands in its subject.
    Mail without a topic cannot be switched off, and goes before mail that can.
    Raises IntegrityError if a notice with this `key` exists: there may be only one.
    """
    notice = Notice(kind=kind, topic=topic, product_id=product_id, key=key, context=context, created_at=now, created_by_id=created_by_id)
    db.session.add(notice)
    db.session.flush()
    people = audience.subquery()
    user_id, address, name = people.c
    instant = Delivery.created_at.type
    values = {
        "notice_id": sa.literal(notice.id),
        "user_id": user_id,
        "address": address,
        "name": name,
        "state": sa.literal(DeliveryState.QUEUED.value),
        "attempts": sa.literal(0),
        "urgent": sa.literal(topic is None),
        "created_at": sa.literal(now, instant),
        "next_attempt_at": sa.literal(now, instant),
        "give_up_at": sa.literal(now + GIVE_UP_AFTER, instant),
    }
    db.session.execute(sa.insert(Delivery).from_select(list(values), sa.select(*values.values())))
    after_commit(_wake_workers)
    return notice


def on_enqueue(wake: Callable[[], None]) -> None:
    """Register what wakes a worker after a commit that put something into the outbox."""
    _wake[:] = [wake]


def wake_after_commit() -> None:
    """Wake a worker once the current transaction is committed: something is due."""
    after_commit(_wake_workers)


def _wake_workers() -> None:
    for wake in _wake:
        wake()


def cancel(notice_id: int, *, now: datetime) -> int:
    """Stop a notice: what waits is skipped. Returns how many that were. Cancelling twice keeps the first instant.

    What a worker holds at this moment is asked about again before it is sent.
    """
    run_update(sa.update(Notice).where(Notice.id == notice_id, Notice.cancelled_at.is_(None)).values(cancelled_at=now))
    return run_update(
        sa.update(Delivery)
        .where(Delivery.notice_id == notice_id, Delivery.state.in_([DeliveryState.QUEUED, DeliveryState.DEFERRED]))
        .values(state=DeliveryState.SKIPPED, reason=CANCELLED, settled_at=now)
    )


def _due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(
        sa.and_(Delivery.state.in_([DeliveryState.QUEUED, DeliveryState.DEFERRED]), Delivery.next_attempt_at <= now),
        _abandoned(now),
    )


def _abandoned(now: datetime) -> sa.ColumnElement[bool]:
    """Held by a worker that neither settled it nor renewed its lease in time."""
    return sa.and_(Delivery.state == DeliveryState.SENDING, Delivery.leased_until < now)


def claim(limit: int, lease: str, now: datetime) -> list[int]:
    """Take up to `limit` due deliveries under `lease`, which no other worker uses. Returns their ids, in the order to send them.

    Must be committed before anything is sent. PostgreSQL gives two workers different rows by SKIP LOCKED, and returns them
    unordered, hence the sort; on SQLite only one transaction writes at a time.
    """
    chosen = sa.select(Delivery.id).where(_due(now)).order_by(Delivery.urgent.desc(), Delivery.next_attempt_at, Delivery.id).limit(limit)
    if db.engine.dialect.name == "postgresql":
        # Materialised, since a planner that ran the subquery twice would lock and take twice as many.
        due = chosen.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
        mine = Delivery.id.in_(sa.select(due.c.id))
    else:
        mine = Delivery.id.in_(chosen)
    taken = db.session.execute(
        sa.update(Delivery)
        .where(mine)
        .values(state=DeliveryState.SENDING, lease=lease, leased_until=now + LEASE)
        .returning(Delivery.id, Delivery.urgent, Delivery.next_attempt_at)
        .execution_options(synchronize_session=False)
    ).all()
    return [row.id for row in sorted(taken, key=lambda row: (not row.urgent, row.next_attempt_at, row.id))]


def renew(lease: str, now: datetime) -> set[int]:
    """Hold on to what is still ours. Returns the ids of those deliveries; others were taken over and must not be sent."""
    return set(
        db.session.scalars(
            sa.update(Delivery)
            .where(Delivery.lease == lease, Delivery.state == DeliveryState.SENDING)
            .values(leased_until=now + LEASE)
            .returning(Delivery.id)
            .execution_options(synchronize_session=False)
        )
    )


def give_back(lease: str) -> None:
    """Return what was claimed but not tried to the queue, as if nothing had happened."""
    run_update(
        sa.update(Delivery)
        .where(Delivery.lease == lease, Delivery.state == DeliveryState.SENDING)
        .values(state=_waiting_state(), lease=None, leased_until=None)
    )


def settle(lease: str, outcomes: Sequence[Outcome], now: datetime) -> int:
    """Write down how attempts ended, each only if `lease` still holds the delivery. Returns how many were.

    A deferral that has waited until `give_up_at` becomes a failure.
    """
    settled = 0
    for outcome in outcomes:
        values = _deferral(outcome, now) if outcome.state is DeliveryState.DEFERRED else _final(outcome, now)
        settled += run_update(
            sa.update(Delivery)
            .where(Delivery.id == outcome.delivery_id, Delivery.lease == lease, Delivery.state == DeliveryState.SENDING)
            .values(lease=None, leased_until=None, reply=_cut(outcome.reply, REPLY_LENGTH), **values)
        )
    return settled


def _final(outcome: Outcome, now: datetime) -> dict[str, Any]:
    tried = outcome.state is not DeliveryState.SKIPPED
    return {
        "state": outcome.state,
        "reason": _cut(outcome.reason, REASON_LENGTH),
        "settled_at": now,
        "attempts": Delivery.attempts + (1 if tried else 0),
    }


def _deferral(outcome: Outcome, now: datetime) -> dict[str, Any]:
    row = db.session.execute(sa.select(Delivery.attempts, Delivery.give_up_at).where(Delivery.id == outcome.delivery_id)).one()
    next_attempt_at = now + retry_delay(row.attempts + 1, outcome.longest_delay)
    # The hours count from the first try: while no worker ran, nobody has tried anything.
    give_up_at = row.give_up_at if row.attempts else now + GIVE_UP_AFTER
    if now >= give_up_at:
        reason = "given up after 72 hours of trying"
        return {"state": DeliveryState.FAILED, "reason": reason, "settled_at": now, "attempts": row.attempts + 1}
    return {
        "state": DeliveryState.DEFERRED,
        "reason": _cut(outcome.reason, REASON_LENGTH),
        "next_attempt_at": min(next_attempt_at, give_up_at),
        "give_up_at": give_up_at,
        "attempts": row.attempts + 1,
    }


def retry_delay(attempts: int, longest: timedelta = LONGEST_DELAY) -> timedelta:
    """Return how long to wait after the `attempts`-th try: doubled each time, up to `longest`, a quarter more or less.

    The spread keeps mails that failed together from coming back together.
    """
    doublings = min(attempts - 1, 20)
    grown = min(FIRST_DELAY * (1 << doublings), longest)
    return grown * random.uniform(0.75, 1.25)  # noqa: S311 - a spread, not a secret


def free_expired_leases(now: datetime) -> int:
    """Put what dead workers held back into the queue. Returns how many deliveries that were."""
    return run_update(sa.update(Delivery).where(_abandoned(now)).values(state=_waiting_state(), lease=None, leased_until=None))


def _waiting_state() -> sa.ColumnElement[Any]:
    return sa.case((Delivery.attempts > 0, DeliveryState.DEFERRED.value), else_=DeliveryState.QUEUED.value)


def any_due(now: datetime) -> bool:
    """Say whether a worker would find something to do."""
    return bool(db.session.scalar(sa.select(sa.exists().where(_due(now)))))


def count_due(now: datetime) -> int:
    return db.session.scalar(sa.select(sa.func.count()).select_from(Delivery).where(_due(now))) or 0


def oldest_due(now: datetime) -> datetime | None:
    """Return since when the longest waiting due delivery has been due, None when none is."""
    return db.session.scalar(sa.select(sa.func.min(Delivery.next_attempt_at)).where(_due(now)))


def retry(notice_id: int, *, now: datetime, states: Collection[DeliveryState] = (DeliveryState.FAILED, DeliveryState.DEFERRED)) -> int:
    """Try a notice's unfinished or failed deliveries again now, with 72 hours to go. Returns how many.

    Bounced ones are left alone: the mail server said that trying again is of no use. A mailbox that was full is the exception.
    """
    full = sa.and_(Delivery.state == DeliveryState.BOUNCED, mailbox_was_full())
    count = run_update(
        sa.update(Delivery)
        .where(Delivery.notice_id == notice_id, sa.or_(Delivery.state.in_(list(states)), full))
        .values(state=DeliveryState.QUEUED, attempts=0, reason=None, settled_at=None, next_attempt_at=now, give_up_at=now + GIVE_UP_AFTER)
    )
    if count:
        wake_after_commit()
    return count


def mailbox_was_full() -> sa.ColumnElement[bool]:
    """The enhanced status code X.2.2 (RFC 3463): permanent by its first digit, and yet it passes."""
    return Delivery.reply.like("% 5.2.2 %")


def run_update(statement: sa.Update | sa.Delete) -> int:
    """Execute a statement that objects in the session need not follow. Returns how many rows it met."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, sa.CursorResult)
    return result.rowcount


def _cut(text: str | None, length: int) -> str | None:
    """Shorten a text to its column. NUL, which PostgreSQL does not store, goes."""
    if text is None:
        return None
    text = text.replace("\x00", "").strip()
    return text if len(text) <= length else text[: length - 1] + "…"
