"""The outbox: a mail is a row in the caller's transaction, and a worker sends it after the commit.

Nothing is sent from here, and nothing can be lost between the act and its mail: both are committed, or neither.
A worker takes deliveries under its lease (`claim`), and what a dead worker held becomes due again when its lease has run out.
How an attempt ended is written down by `settling`; what staff do to a whole notice (stop, pause, try again) is in `control`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from portal.database import after_commit, db, insert
from portal.notices.kinds import Due
from portal.notices.models import Delivery, DeliveryState, Lease, Notice, Topic

# An audience selects three columns: user id, address, name.
Audience = sa.Select[int, str, str]

# Longer than a database may be locked (and its holder still lives), shorter than anybody wants to wait for a dead one's mail.
LEASE = timedelta(seconds=60)
GIVE_UP_AFTER = timedelta(hours=72)
# More people than these are many, whatever they are told.
FEW = 10

_wake: list[Callable[[], object]] = []


class Claimed(NamedTuple):
    """A delivery in a worker's hands."""

    notice_id: int
    urgent: bool
    domain: str
    due: Due


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
    Mail without a topic cannot be switched off. To a few people, who wait for it, it goes before mail to many.
    Raises IntegrityError if a notice with this `key` exists: there may be only one.
    """
    notice = Notice(kind=kind, topic=topic, product_id=product_id, key=key, context=context, created_at=now, created_by_id=created_by_id)
    db.session.add(notice)
    db.session.flush()
    people = audience.subquery()
    _add_deliveries(sa.literal(notice.id), *people.c, urgent=_is_urgent(audience, topic), now=now)
    return notice


class Planned(NamedTuple):
    """A notice to come: it is made unless there is one with this key."""

    key: str
    context: dict[str, Any]
    product_id: int | None


def enqueue_each(kind: str, planned: Sequence[Planned], audience: sa.Select[int, int, str, str], *, now: datetime) -> int:
    """Put many notices of one kind into the outbox, each with a few people of its own. Returns how many were made.

    `audience` selects a notice's id, user id, address and name, joined to `Notice` by what stands in its context. Whoever plans the
    same keys at the same time waits here, and makes the rest. It is mail that cannot be switched off and that nobody waits for.
    """
    rows = [
        {"kind": kind, "key": one.key, "context": one.context, "product_id": one.product_id, "created_at": now}
        for one in sorted(planned, key=lambda one: one.key)  # all in one order, or two at once could wait for each other
    ]
    made = set(db.session.scalars(insert(Notice).on_conflict_do_nothing(index_elements=["key"]).returning(Notice.id), rows) if rows else ())
    if made:
        people = audience.where(Notice.id.in_(made)).subquery()
        _add_deliveries(*people.c, urgent=sa.false(), now=now)
    return len(made)


def _add_deliveries(
    notice_id: sa.ColumnElement[int],
    user_id: sa.ColumnElement[int],
    address: sa.ColumnElement[str],
    name: sa.ColumnElement[str],
    *,
    urgent: sa.ColumnElement[bool],
    now: datetime,
) -> None:
    """Make the deliveries by one statement."""
    instant = Delivery.created_at.type
    values: dict[str, sa.ColumnElement[Any]] = {
        "notice_id": notice_id,
        "user_id": user_id,
        "address": address,
        "domain": _domain_of(address),
        "name": name,
        "state": sa.literal(DeliveryState.QUEUED.value),
        "attempts": sa.literal(0),
        "urgent": urgent,
        "created_at": sa.literal(now, instant),
        "next_attempt_at": sa.literal(now, instant),
        "give_up_at": sa.literal(now + GIVE_UP_AFTER, instant),
    }
    db.session.execute(sa.insert(Delivery).from_select(list(values), sa.select(*values.values())))
    wake_after_commit()


def _is_urgent(audience: Audience, topic: Topic | None) -> sa.ColumnElement[bool]:
    """Whether somebody waits for it. A crowd goes neither before a link to sign in nor against the pause of a domain."""
    if topic is not None:
        return sa.false()
    some = audience.limit(FEW + 1).subquery()
    return sa.select(sa.func.count() <= FEW).select_from(some).scalar_subquery()


def _domain_of(address: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """What follows the @ of a stored address, which has one."""
    position = sa.func.strpos if db.engine.dialect.name == "postgresql" else sa.func.instr
    return sa.func.lower(sa.func.substr(address, position(address, "@") + 1))


def on_enqueue(wake: Callable[[], object]) -> None:
    """Register what wakes a worker after a commit that put something into the outbox."""
    _wake[:] = [wake]


def wake_after_commit() -> None:
    """Wake a worker once the current transaction is committed: something is due."""
    after_commit(_wake_workers)


def _wake_workers() -> None:
    for wake in _wake:
        wake()


def open_lease(holder: str, now: datetime) -> int:
    """Give a worker a lease to claim under. `holder` is for people who look into the table."""
    lease = Lease(holder=holder, expires_at=now + LEASE)
    db.session.add(lease)
    db.session.flush()
    return lease.id


def renew(lease_id: int, now: datetime) -> bool:
    """Hold on to a lease. False if it ran out and others took what it held, which must not be sent any more."""
    return run_update(sa.update(Lease).where(Lease.id == lease_id).values(expires_at=now + LEASE)) == 1


def claim(limit: int, lease_id: int, now: datetime) -> list[Claimed]:
    """Take up to `limit` due deliveries under a lease, those somebody waits for first. In the order to send them.

    The lease must be held (`renew`), and the claim be committed before anything is sent. PostgreSQL gives two workers different
    rows by SKIP LOCKED, and returns them unordered, hence the sort; on SQLite only one transaction writes at a time.
    """
    taken = _claim(limit, lease_id, now, urgent=True)
    if len(taken) < limit:
        taken += _claim(limit - len(taken), lease_id, now, urgent=False)
    return taken


def _claim(limit: int, lease_id: int, now: datetime, *, urgent: bool) -> list[Claimed]:
    chosen = (
        sa.select(Delivery.id)
        .where(Delivery.urgent.is_(urgent), Delivery.next_attempt_at <= now)
        .order_by(Delivery.next_attempt_at, Delivery.id)
        .limit(limit)
    )
    if db.engine.dialect.name == "postgresql":
        # Materialised, since a planner that ran the subquery twice would lock and take twice as many.
        due = chosen.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED", dialect="postgresql")
        mine = Delivery.id.in_(sa.select(due.c.id))
    else:
        mine = Delivery.id.in_(chosen)
    rows = db.session.execute(
        sa.update(Delivery)
        .where(mine)
        .values(state=DeliveryState.SENDING, lease_id=lease_id, next_attempt_at=None, attempted_at=now)
        .returning(Delivery.id, Delivery.notice_id, Delivery.domain, Delivery.user_id, Delivery.address, Delivery.name)
        .execution_options(synchronize_session=False)
    ).all()
    return [Claimed(row[1], urgent, row[2], Due(row[0], row[3], row[4], row[5], now)) for row in sorted(rows)]


def postpone(lease_id: int, delivery_ids: Iterable[int], until: datetime) -> None:
    """Return claimed deliveries to the queue, to be tried at `until`; no attempt is counted."""
    mine = Delivery.lease_id == lease_id, Delivery.id.in_(list(delivery_ids))
    run_update(sa.update(Delivery).where(*mine).values(**_waiting(until)))


def close_lease(lease_id: int, now: datetime) -> None:
    """Give back what was claimed but not tried, as if nothing had happened, and end the lease."""
    run_update(sa.update(Delivery).where(Delivery.lease_id == lease_id).values(**_waiting(now)))
    run_update(sa.delete(Lease).where(Lease.id == lease_id))


def free_expired_leases(now: datetime) -> int:
    """Put what dead workers held back into the queue. Returns how many deliveries that were."""
    expired = sa.select(Lease.id).where(Lease.expires_at < now).with_for_update(skip_locked=True)
    dead = list(db.session.scalars(expired))
    if not dead:
        return 0
    freed = run_update(sa.update(Delivery).where(Delivery.lease_id.in_(dead)).values(**_waiting(now)))
    run_update(sa.delete(Lease).where(Lease.id.in_(dead)))
    return freed


def _waiting(until: datetime) -> dict[str, Any]:
    """The values of a delivery that waits again, as it did before it was claimed."""
    state = sa.case((Delivery.attempts > 0, DeliveryState.DEFERRED.value), else_=DeliveryState.QUEUED.value)
    return {"state": state, "lease_id": None, "next_attempt_at": not_before(until)}


def not_before(instant: datetime) -> sa.ColumnElement[datetime | None]:
    """When a waiting delivery is tried: at `instant`, or, while its notice is paused, not until it is resumed.

    What was cancelled has its turn, in which it is skipped. The lock makes whoever resumes or cancels at this moment go first, or
    wait: a delivery that is put aside behind their backs would be picked up by nobody.
    """
    held = Notice.paused_at.is_not(None), Notice.cancelled_at.is_(None)
    paused = sa.select(Notice.id).where(*held).with_for_update(read=True)
    return sa.case((Delivery.notice_id.in_(paused), sa.null()), else_=sa.literal(instant, Delivery.next_attempt_at.type))


def keep_compiled(notice_id: int, compiled: dict[str, Any]) -> None:
    """Store the text all recipients of a notice read, unless another worker was first."""
    run_update(sa.update(Notice).where(Notice.id == notice_id, Notice.compiled.is_(sa.null())).values(compiled=compiled))


def any_due(now: datetime) -> bool:
    """Say whether a worker would find something to do: mail that is due, or that a dead worker holds."""
    abandoned = sa.exists().where(Lease.expires_at < now)
    return bool(db.session.scalar(sa.select(sa.or_(sa.exists().where(_due(now)), abandoned))))


def count_due(now: datetime) -> int:
    return db.session.scalar(sa.select(sa.func.count()).select_from(Delivery).where(_due(now))) or 0


def oldest_due(now: datetime) -> datetime | None:
    """Return since when the longest waiting due delivery has been due, None when none is."""
    return db.session.scalar(sa.select(sa.func.min(Delivery.next_attempt_at)).where(_due(now)))


def _due(now: datetime) -> sa.ColumnElement[bool]:
    # Both values of `urgent`, so that the index over it and the instant serves.
    return sa.and_(Delivery.urgent.in_([True, False]), Delivery.next_attempt_at <= now)


def run_update(statement: sa.Update | sa.Delete) -> int:
    """Execute a statement that objects in the session need not follow. Returns how many rows it met."""
    result = db.session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, sa.CursorResult)
    return result.rowcount
