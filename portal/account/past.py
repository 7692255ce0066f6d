"""Who was entitled on a day: gone by, today or to come, as the contract's calendar counts it.

Seats, terms, suspensions and the cancellation carry their instants, so the answer is derived and nothing is kept for it. Two
things are as they are today: whether a person's account is closed, and the zone of the contract.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from portal.account.contracts import YEARS
from portal.account.entitlements import Reason
from portal.account.models import Contact, Contract, Suspension
from portal.database import db
from portal.errors import Invalid
from portal.web.formatting import clock_time

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Holder:
    """Somebody who held a seat on the day: when (`held`), when they were entitled (`spans`, in order), or why they never were."""

    contact: Contact
    held: Span
    spans: list[Span]
    reason: Reason | None


@dataclass(frozen=True)
class Day:
    """A day of a contract: its first instant, the first one after it, and who held a seat, by seat and time."""

    date: date
    starts: datetime
    ends: datetime
    holders: list[Holder]

    @property
    def at_its_end(self) -> list[Holder]:
        """Those who held a seat as the day ended."""
        return [holder for holder in self.holders if holder.held[1] == self.ends]

    def is_all(self, span: Span) -> bool:
        """Whether a span is the whole day."""
        return span == (self.starts, self.ends)


def bounds(day: date, zone: str) -> Span:
    """Return the first instant of a calendar day in a zone, and the first one after it, in UTC: 23 to 25 hours, where clocks change."""
    first, after = (datetime.combine(one, time.min, ZoneInfo(zone)).astimezone(UTC) for one in (day, day + timedelta(days=1)))
    return first, after


def on_day(contract: Contract, day: date) -> Day:
    """Return who was entitled by `contract` on `day`, in two statements. Raises Invalid (field `on`) for a year out of reach."""
    if not YEARS[0] <= day.year <= YEARS[1]:
        raise Invalid(f"The year {day.year} is out of reach. Check the date.", "on")
    starts, ends = bounds(day, contract.time_zone)
    rests = _suspensions(contract, ends)
    seats = db.session.scalars(
        sa.select(Contact)
        .where(
            Contact.contract_id == contract.id,
            Contact.named_at < ends,
            sa.or_(Contact.released_at.is_(None), sa.and_(Contact.released_at > starts, Contact.released_at > Contact.named_at)),
        )
        .order_by(Contact.seat, Contact.named_at, Contact.id)
    )
    return Day(day, starts, ends, [_holder(seat, contract, day, (starts, ends), rests) for seat in seats])


def _suspensions(contract: Contract, until: datetime) -> list[Span]:
    over = db.session.execute(
        sa.select(Suspension.suspended_at, Suspension.resumed_at)
        .where(Suspension.contract_id == contract.id, Suspension.resumed_at > Suspension.suspended_at)
        .order_by(Suspension.suspended_at, Suspension.id)
    )
    lasting = [(contract.suspended_at, max(until, contract.suspended_at))] if contract.suspended_at is not None else []
    return [*((row[0], row[1]) for row in over), *lasting]


def _holder(seat: Contact, contract: Contract, day: date, bounds_: Span, rests: list[Span]) -> Holder:
    held = max(seat.named_at, bounds_[0]), min(seat.released_at or bounds_[1], bounds_[1])
    if not any(term.starts_on <= day <= term.ends_on for term in contract.terms):
        past = any(term.ends_on < day for term in contract.terms)
        return Holder(seat, held, [], Reason.EXPIRED if past else Reason.NOT_STARTED)
    lives = held[0], held[1] if contract.cancelled_at is None else min(held[1], contract.cancelled_at)
    if lives[0] >= lives[1]:
        return Holder(seat, held, [], Reason.CANCELLED)
    spans = [lives]
    for rest in rests:
        spans = [part for span in spans for part in _without(span, rest)]
    return Holder(seat, held, spans, None if spans else Reason.SUSPENDED)


def _without(span: Span, rest: Span) -> list[Span]:
    """Return what is left of a span when `rest` is cut out of it."""
    parts = (span[0], min(span[1], rest[0])), (max(span[0], rest[1]), span[1])
    return [part for part in parts if part[0] < part[1]] if rest[0] < span[1] and rest[1] > span[0] else [span]


_WHY = {
    Reason.EXPIRED: "the contract had ended",
    Reason.NOT_STARTED: "the contract had not started",
    Reason.CANCELLED: "the contract was cancelled",
    Reason.SUSPENDED: "the contract was suspended",
}


def describe(holder: Holder, day: Day, zone: str) -> str:
    """Say in words when somebody was entitled on the day: entitled; entitled from 08:58; not entitled: the contract had ended."""
    if holder.reason is not None:
        return f"not entitled: {_WHY[holder.reason]}"
    return "entitled" + "".join(f"{',' if number else ''} {_times(span, day, zone)}" for number, span in enumerate(holder.spans)).rstrip()


def _times(span: Span, day: Day, zone: str) -> str:
    first, last = (clock_time(instant, zone) for instant in span)
    if day.is_all(span):
        return ""
    if span[0] == day.starts:
        return f"until {last}"
    return f"from {first}" if span[1] == day.ends else f"from {first} to {last}"
