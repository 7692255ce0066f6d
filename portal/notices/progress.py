"""How notices are getting on: their numbers, how fast they go out, what holds them up."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import defer

from portal import heartbeat
from portal.audit import AuditEvent
from portal.database import db
from portal.errors import NotFound
from portal.notices import kinds
from portal.notices.models import OPEN_STATES, Delivery, DeliveryState, DomainPause, Notice
from portal.notices.selection import EVERYBODY
from portal.products.models import Product

PAGE = 50
PACE_WINDOW = timedelta(seconds=60)
# Fewer say nothing about how long the rest takes.
PACE_NEEDS = 10
FINAL_STATES = tuple(state for state in DeliveryState if state not in OPEN_STATES)
# The compiled mail is large, and no list shows it.
_WITHOUT_MAIL = defer(Notice.compiled)


class Show(enum.StrEnum):
    """Which notices a list shows: those to many or the single mails, or those of either that are in some situation."""

    MANY = "many"
    SINGLE = "single"
    RUNNING = "running"
    PAUSED = "paused"
    TROUBLE = "trouble"


class Stage(enum.StrEnum):
    """Where a notice stands as a whole."""

    SENDING = "sending"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True)
class Pace:
    """How fast a notice went out in the last minute: `settled` mails in `seconds`, and `waiting` still to go now."""

    settled: int
    seconds: float
    waiting: int

    @property
    def per_second(self) -> float:
        return self.settled / self.seconds

    @property
    def words(self) -> str:
        """Such as "38 a second, about 3 minutes left". Rounded, since it is a measurement of the past."""
        rate = self.per_second
        speed = f"{_two_digits(rate):,} a second" if rate >= 1 else f"{_two_digits(rate * 60):,} a minute"
        return f"{speed}, {_time_left(self.waiting / rate)} left"


def _two_digits(value: float) -> int:
    """Round to two digits that mean something: 4,237 is 4,200."""
    rounded = round(value)
    return rounded if rounded < 100 else int(round(value, 2 - len(str(rounded))))


def _time_left(seconds: float) -> str:
    if seconds < 10:
        return "a few seconds"
    for unit, length, most in (("second", 1, 55), ("minute", 60, 5400), ("hour", 3600, 172_800), ("day", 86_400, None)):
        if most is None or seconds < most:
            count = round(seconds / length) if unit != "second" else round(seconds, -1)
            return f"about {count:.0f} {unit}{'' if count == 1 else 's'}"
    raise AssertionError


@dataclass(frozen=True)
class Progress:
    """How far one notice has come.

    `counts` has every state; `next_attempt_at` is when the first deferred mail is tried again; `skipped` counts by reason, the
    most frequent first. The rest is asked only for a page that shows the notice: a `pace` there is while mail goes out,
    `paused_by` names the member of staff who paused it, and `is_stranded` says that no worker is there to send what waits.
    """

    notice_id: int
    counts: Mapping[DeliveryState, int]
    next_attempt_at: datetime | None = None
    retryable: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    pace: Pace | None = None
    paused_by: str | None = None
    is_stranded: bool = False

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        """Queued, or in a worker's hands."""
        return self.counts[DeliveryState.QUEUED] + self.counts[DeliveryState.SENDING]

    @property
    def open(self) -> int:
        return sum(self.counts[state] for state in OPEN_STATES)

    @property
    def settled(self) -> int:
        return self.total - self.open

    @property
    def finished(self) -> bool:
        return self.open == 0

    @property
    def refused(self) -> int:
        """Those that wanted it and did not get it."""
        return self.counts[DeliveryState.BOUNCED] + self.counts[DeliveryState.FAILED]

    @property
    def summary(self) -> str:
        """The numbers as a sentence, for the bar's label and for screen readers."""
        parts = [
            (self.counts[DeliveryState.SENT], "sent"),
            (self.waiting, "queued"),
            (self.counts[DeliveryState.DEFERRED], "deferred"),
            (self.counts[DeliveryState.BOUNCED], "bounced"),
            (self.counts[DeliveryState.FAILED], "failed"),
            (self.counts[DeliveryState.SKIPPED], "skipped"),
        ]
        said = ", ".join(f"{count:,} {word}" for count, word in parts if count)
        return f"Of {self.total:,}: {said}" if said else "Nobody is to get this notice"


@dataclass(frozen=True)
class Listed:
    """A notice as a line of a list. `recipient` is the address of the only person it goes to, None where there are others."""

    notice: Notice
    label: str
    title: str
    product_name: str | None
    recipient: str | None
    progress: Progress

    @property
    def stage(self) -> Stage:
        return stage_of(self.notice, self.progress)


def find(notice_id: int) -> Notice:
    """Return a notice. Raises NotFound."""
    notice = db.session.get(Notice, notice_id, options=[_WITHOUT_MAIL])
    if notice is None:
        raise NotFound(f"There is no notice {notice_id}.")
    return notice


def find_by_key(key: str) -> Notice | None:
    """Return the notice with this unique key, such as "release-12-published", or None."""
    return db.session.scalar(sa.select(Notice).where(Notice.key == key).options(_WITHOUT_MAIL))


def product_of(notice: Notice) -> str | None:
    """Return the name of the product a notice is about, if it is about one."""
    product = db.session.get(Product, notice.product_id) if notice.product_id is not None else None
    return product.name if product else None


def label_of(notice: Notice) -> str:
    label = kinds.in_words(notice.kind)
    return f"{label} (test)" if notice.context.get("test") is True else label


def title_of(notice: Notice) -> str:
    """Return what a notice is about, such as "Macro Studio 15.3b2"; empty where its kind says it all."""
    return str(notice.context.get("title", ""))


def stage_of(notice: Notice, reached: Progress) -> Stage:
    """Return where a notice stands. One that was stopped stays so, and one of which nothing is left is done, paused or not."""
    if notice.cancelled_at is not None:
        return Stage.STOPPED
    if reached.finished:
        return Stage.DONE
    return Stage.SENDING if notice.paused_at is None else Stage.PAUSED


def progress(notice_id: int) -> Progress:
    """Return how far a notice has come."""
    counts = _counts([notice_id])[notice_id]
    # One walk over what failed or waits; what has failed has no next attempt.
    later = sa.select(sa.func.min(Delivery.next_attempt_at), sa.func.count()).where(Delivery.notice_id == notice_id, EVERYBODY.retryable())
    next_attempt_at, retryable = db.session.execute(later).one()
    return Progress(notice_id, counts, next_attempt_at, retryable, _skipped(notice_id) if counts[DeliveryState.SKIPPED] else {})


def progress_now(notice: Notice, now: datetime) -> Progress:
    """Return how far a notice has come, how fast, and what holds it up."""
    reached = progress(notice.id)
    stage = stage_of(notice, reached)
    if stage is Stage.PAUSED:
        return replace(reached, paused_by=_paused_by(notice))
    if stage is not Stage.SENDING:
        return reached
    pace = _pace(notice.id, reached.waiting, now) if reached.waiting else None
    return replace(reached, pace=pace, is_stranded=heartbeat.is_silent(heartbeat.WORKER, now))


def _paused_by(notice: Notice) -> str | None:
    """Return who paused a notice, in words. None if the portal itself did, which leaves its reason instead."""
    if notice.pause_reason is not None:
        return None
    last = (
        sa.select(AuditEvent.actor, AuditEvent.details)
        .where(AuditEvent.subject_type == "notice", AuditEvent.subject_id == notice.id, AuditEvent.action == "notice.paused")
        .order_by(AuditEvent.id.desc())
        .limit(1)
    )
    row = db.session.execute(last).first()
    return None if row is None else str(row.details.get("via", row.actor))


def _skipped(notice_id: int) -> dict[str, int]:
    number = sa.func.count()
    by_reason = sa.select(Delivery.reason, number).where(Delivery.notice_id == notice_id, Delivery.state == DeliveryState.SKIPPED)
    rows = db.session.execute(by_reason.group_by(Delivery.reason).order_by(number.desc(), Delivery.reason))
    return {reason or "no reason given": count for reason, count in rows}


def _held_back(notice_id: int, now: datetime) -> int:
    """Count what waits for the end of a domain's pause, however fast the rest goes out."""
    if not db.session.scalar(sa.select(sa.exists().where(DomainPause.until > now))):
        return 0
    queued = Delivery.notice_id == notice_id, Delivery.state == DeliveryState.QUEUED
    return db.session.scalar(sa.select(sa.func.count()).where(*queued, Delivery.next_attempt_at > now)) or 0


def _pace(notice_id: int, waiting: int, now: datetime) -> Pace | None:
    """Measure the last minute, or as much of it as something went out in. None if that was next to nothing, or nothing may go now."""
    settled, first = db.session.execute(
        sa.select(sa.func.count(), sa.func.min(Delivery.settled_at)).where(
            Delivery.notice_id == notice_id, Delivery.state.in_(FINAL_STATES), Delivery.settled_at > now - PACE_WINDOW
        )
    ).one()
    if first is None or settled < PACE_NEEDS:
        return None
    waiting -= _held_back(notice_id, now)
    return Pace(settled, max((now - first).total_seconds(), 1.0), waiting) if waiting else None


def totals() -> dict[DeliveryState, int]:
    """Return how many deliveries are in each state, over all notices."""
    counts = dict.fromkeys(DeliveryState, 0)
    for state, count in db.session.execute(sa.select(Delivery.state, sa.func.count()).group_by(Delivery.state)):
        counts[state] = count
    return counts


def latest(*, before_id: int | None = None, limit: int = PAGE, show: Show | None = None) -> list[Listed]:
    """Return notices, newest first, with their numbers; `before_id` is the last one of the page before."""
    rows = db.session.execute(
        sa.select(Notice, Product.name)
        .outerjoin(Product, Product.id == Notice.product_id)
        .where(Notice.id < before_id if before_id is not None else sa.true(), _shown(show))
        .options(_WITHOUT_MAIL)
        .order_by(Notice.id.desc())
        .limit(limit)
    ).all()
    counts = _counts([notice.id for notice, _ in rows])
    alone = _only_recipients([notice_id for notice_id, states in counts.items() if sum(states.values()) == 1])
    return [
        Listed(notice, label_of(notice), title_of(notice), name, alone.get(notice.id), Progress(notice.id, counts[notice.id]))
        for notice, name in rows
    ]


def _shown(show: Show | None) -> sa.ColumnElement[bool]:
    if show is None:
        return sa.true()
    if show in {Show.MANY, Show.SINGLE}:
        # A test of what goes to many is a single mail.
        is_test = sa.func.coalesce(Notice.context["test"].as_boolean(), sa.false())
        to_many = sa.and_(Notice.kind.in_(kinds.to_many()), sa.not_(is_test))
        return to_many if show is Show.MANY else sa.not_(to_many)
    if show is Show.TROUBLE:
        lost = _has(DeliveryState.BOUNCED, DeliveryState.FAILED, DeliveryState.DEFERRED)
        return sa.or_(lost, sa.and_(Notice.pause_reason.is_not(None), Notice.cancelled_at.is_(None)))
    is_paused = Notice.paused_at.is_not(None) if show is Show.PAUSED else Notice.paused_at.is_(None)
    return sa.and_(is_paused, Notice.cancelled_at.is_(None), _has(*OPEN_STATES))


def _has(*states: DeliveryState) -> sa.ColumnElement[bool]:
    return sa.exists().where(Delivery.notice_id == Notice.id, Delivery.state.in_(states))


def _counts(notice_ids: Sequence[int]) -> dict[int, dict[DeliveryState, int]]:
    counts = {notice_id: dict.fromkeys(DeliveryState, 0) for notice_id in notice_ids}
    grouped = sa.select(Delivery.notice_id, Delivery.state, sa.func.count()).where(Delivery.notice_id.in_(notice_ids))
    for notice_id, state, count in db.session.execute(grouped.group_by(Delivery.notice_id, Delivery.state)):
        counts[notice_id][state] = count
    return counts


def _only_recipients(notice_ids: Sequence[int]) -> dict[int, str]:
    """Return the addresses of notices that go to one person alone."""
    return dict(db.session.execute(sa.select(Delivery.notice_id, Delivery.address).where(Delivery.notice_id.in_(notice_ids))).all())
