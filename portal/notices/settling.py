"""Settling: how attempts at deliveries ended, each written down only by the worker whose lease still holds it."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from portal.database import db
from portal.notices.models import Delivery, DeliveryState
from portal.notices.outbox import GIVE_UP_AFTER

FIRST_DELAY = timedelta(seconds=15)
LONGEST_DELAY = timedelta(hours=2)
REPLY_LENGTH = 500
REASON_LENGTH = 60
GIVEN_UP = "given up after 72 hours of trying"


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


_deliveries = Delivery.metadata.tables[Delivery.__tablename__]


class _Update:
    """An update of many deliveries, each with values of its own, as long as a lease holds them.

    SQLite runs it once for each row. PostgreSQL runs it once for all, with an array per value: there each run is work for the
    server and a message to it.
    """

    def __init__(self, values: Callable[[Any], dict[str, Any]], **types: sa.types.TypeEngine[Any]) -> None:
        """`values` is given the row's values as an object with an attribute for each of `types`."""
        types = {"id": sa.Integer(), **types}
        one = SimpleNamespace(**{name: sa.bindparam(f"row_{name}", type_=kind) for name, kind in types.items()})
        arrays = sa.func.unnest(*(sa.bindparam(f"row_{name}", type_=ARRAY(kind)) for name, kind in types.items()))
        many = arrays.table_valued(*(sa.column(name, kind) for name, kind in types.items())).render_derived(name="answered").c
        self._names = list(types)
        self._each, self._together = (
            sa.update(_deliveries).where(_deliveries.c.id == row.id, _deliveries.c.lease_id == sa.bindparam("lease")).values(values(row))
            for row in (one, many)
        )

    def run(self, lease_id: int, now: datetime, rows: Sequence[dict[str, Any]]) -> int:
        """Return how many deliveries were still held."""
        if not rows:
            return 0
        same = {"lease": lease_id, "now": now}
        connection = db.session.connection()
        if connection.dialect.name == "postgresql":
            return connection.execute(self._together, {f"row_{name}": [row[name] for row in rows] for name in self._names} | same).rowcount
        return connection.execute(self._each, [{f"row_{name}": row[name] for name in self._names} | same for row in rows]).rowcount


_INSTANT = _deliveries.c.created_at.type
_finish = _Update(
    lambda row: {
        "state": row.state, "reply": row.reply, "reason": row.reason, "attempts": _deliveries.c.attempts + row.tries,
        "settled_at": sa.bindparam("now", type_=_INSTANT), "lease_id": None,
    },
    state=sa.String(), reply=sa.String(), reason=sa.String(), tries=sa.Integer(),
)  # fmt: skip
_defer = _Update(
    lambda row: {
        "state": DeliveryState.DEFERRED, "reply": row.reply, "reason": row.reason, "attempts": _deliveries.c.attempts + 1,
        "next_attempt_at": row.next_attempt_at, "give_up_at": row.give_up_at, "lease_id": None,
    },
    reply=sa.String(), reason=sa.String(), next_attempt_at=_INSTANT, give_up_at=_INSTANT,
)  # fmt: skip


def settle(lease_id: int, outcomes: Sequence[Outcome], now: datetime) -> int:
    """Write down how attempts ended, each only if the lease still holds the delivery. Returns how many were.

    A deferral that has waited until `give_up_at` becomes a failure.
    """
    finished = [_row(one) for one in outcomes if one.state is not DeliveryState.DEFERRED]
    deferred = [one for one in outcomes if one.state is DeliveryState.DEFERRED]
    postponed: list[dict[str, Any]] = []
    if deferred:
        postponed, given_up = _deferrals(deferred, now)
        finished += given_up
    return _finish.run(lease_id, now, finished) + _defer.run(lease_id, now, postponed)


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.delivery_id,
        "state": outcome.state.value,
        "reply": _cut(outcome.reply, REPLY_LENGTH),
        "reason": _cut(outcome.reason, REASON_LENGTH),
        "tries": 0 if outcome.state is DeliveryState.SKIPPED else 1,
    }


def _deferrals(outcomes: Sequence[Outcome], now: datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of those that wait for another try, and of those given up."""
    waited = {
        row.id: row
        for row in db.session.execute(
            sa.select(Delivery.id, Delivery.attempts, Delivery.give_up_at).where(Delivery.id.in_([one.delivery_id for one in outcomes]))
        )
    }
    postponed: list[dict[str, Any]] = []
    given_up: list[dict[str, Any]] = []
    for outcome in outcomes:
        known = waited[outcome.delivery_id]
        # The hours count from the first try: while no worker ran, nobody has tried anything.
        give_up_at = known.give_up_at if known.attempts else now + GIVE_UP_AFTER
        row = _row(outcome)
        if now >= give_up_at:
            given_up.append({**row, "state": DeliveryState.FAILED.value, "reason": GIVEN_UP})
            continue
        next_attempt_at = now + retry_delay(known.attempts + 1, outcome.longest_delay)
        times = {"next_attempt_at": min(next_attempt_at, give_up_at), "give_up_at": give_up_at}
        postponed.append({"id": row["id"], "reply": row["reply"], "reason": row["reason"], **times})
    return postponed, given_up


def retry_delay(attempts: int, longest: timedelta = LONGEST_DELAY) -> timedelta:
    """Return how long to wait after the `attempts`-th try: doubled each time, up to `longest`, a quarter more or less.

    The spread keeps mails that failed together from coming back together.
    """
    doublings = min(attempts - 1, 20)
    grown = min(FIRST_DELAY * (1 << doublings), longest)
    return grown * random.uniform(0.75, 1.25)  # nosec B311 # noqa: S311 - a spread, not a secret


def _cut(text: str | None, length: int) -> str | None:
    """Shorten a text to its column. NUL, which PostgreSQL does not store, goes."""
    if text is None:
        return None
    text = text.replace("\x00", "").strip()
    return text if len(text) <= length else text[: length - 1] + "…"
