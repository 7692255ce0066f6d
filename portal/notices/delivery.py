"""Delivery: claim, check, render, send, settle, until nothing is due.

This is the worker's loop and an edge of its own: it decides what one transaction is. No database connection is held while a
mail is under way. Each accepted mail is settled before the next one is begun, so a worker killed in between leaves one mail
that is sent again, under the same Message-ID; the rest of its batch becomes due when the lease runs out.
"""

import logging
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

import sqlalchemy as sa
from flask import Flask, current_app
from sqlalchemy.orm import joinedload

from portal import clock
from portal.config import current_settings
from portal.database import NO_ANSWER, db, release_connection, transaction
from portal.errors import Busy
from portal.notices import kinds, outbox, subscriptions, suppression
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.notices.outbox import LEASE, Outcome
from portal.notices.rendering import Letter, Renderer, Unaddressable
from portal.notices.smtp import Sender, Unavailable

log = logging.getLogger(__name__)

BATCH = 50
# A check older than this is made again before the next mail: "at the second it is sent".
CHECK_LASTS = timedelta(seconds=1)
RENEW_EVERY = LEASE / 3
# While the mail server is down, all wait alike, and not for long: no recipient has refused anything.
UNAVAILABLE_DELAY = timedelta(minutes=5)
SETTLE_TRIES = 5
SETTLE_PAUSE_SECONDS = 1

Clock = Callable[[], datetime]

_users = sa.table("users", sa.column("id", sa.Integer), sa.column("active", sa.Boolean))


@dataclass
class Run:
    """What one run of `deliver_due` did. `unavailable` holds the mail server's words if it could not be used."""

    counts: Counter[DeliveryState] = field(default_factory=Counter)
    unavailable: str | None = None

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def deliver_due(
    *, stopping: Callable[[], bool] = lambda: False, settled: Callable[[int], object] = lambda count: None, now: Clock = clock.now
) -> Run:
    """Deliver everything that is due, then return. `stopping` is asked before each mail; what was claimed goes back then.

    `settled` is told of each few deliveries that were written down. Needs an app context.
    Any number of threads and processes may run this at once.
    """
    settings = current_settings()
    run = Run()
    with Sender(current_app.extensions["mail"], envelope_from=settings.mail_from, timeout=settings.smtp_timeout) as sender:
        while not stopping() and run.unavailable is None:
            lease = f"{socket.gethostname()[:30]}:{secrets.token_hex(12)}"
            with transaction():
                claimed = outbox.claim(BATCH, lease, now())
            if not claimed:
                break
            _Batch(lease, claimed, sender, run, stopping, settled, now).deliver()
    return run


class _Batch:
    """What one worker holds under one lease."""

    def __init__(
        self,
        lease: str,
        claimed: list[int],
        sender: Sender,
        run: Run,
        stopping: Callable[[], bool],
        settled: Callable[[int], object],
        now: Clock,
    ) -> None:
        self.lease = lease
        self.waiting = claimed
        self.sender = sender
        self.run = run
        self.stopping = stopping
        self.settled = settled
        self.now = now
        self.checked_at = now()

    def deliver(self) -> None:
        with _kept_alive(self.lease, self.now):
            letters = self._prepare()
            for letter in letters:
                if self.stopping():
                    self._give_back()
                    return
                if not self._still_to_send(letter):
                    continue
                try:
                    answer = self.sender.send(letter.address, letter.message)
                except Unavailable as error:
                    self._defer_all(str(error))
                    return
                self._settle([Outcome(letter.delivery_id, answer.state, answer.reply, answer.reason)])

    def _prepare(self) -> list[Letter]:
        """Check and render the batch; what is not to be sent is settled at once. Holds no connection afterwards."""
        self.checked_at = self.now()
        letters: list[Letter] = []
        outcomes: list[Outcome] = []
        for notice_id, ids in _by_notice(self.waiting):
            ready, refused = _letters(notice_id, ids, self.checked_at)
            letters += ready
            outcomes += refused
        release_connection()
        if outcomes:
            self._settle(outcomes)
        order = {delivery_id: place for place, delivery_id in enumerate(self.waiting)}
        return sorted(letters, key=lambda letter: order[letter.delivery_id])

    def _still_to_send(self, letter: Letter) -> bool:
        """Check again what has been waiting in this batch for more than a second, and hold on to the lease."""
        now = self.now()
        if now - self.checked_at > CHECK_LASTS:
            self.checked_at = now
            with transaction():
                held = outbox.renew(self.lease, now)
            lost = [delivery_id for delivery_id in self.waiting if delivery_id not in held]
            if lost:
                log.warning("%s deliveries were taken over by another worker", len(lost))
            self.waiting = [delivery_id for delivery_id in self.waiting if delivery_id in held]
            refused = [outcome for notice_id, ids in _by_notice(self.waiting) for outcome in _refusals(notice_id, ids, now)]
            release_connection()
            if refused:
                self._settle(refused)
        return letter.delivery_id in self.waiting

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what happened. The mail is out, so a database that is busy is asked again."""
        for tries_left in reversed(range(SETTLE_TRIES)):
            try:
                with transaction():
                    outbox.settle(self.lease, outcomes, self.now())
                break
            except Busy:
                if not tries_left:
                    raise
                log.warning("the database did not answer, settling again", exc_info=True)
                time.sleep(SETTLE_PAUSE_SECONDS)
        release_connection()
        done = {outcome.delivery_id for outcome in outcomes}
        self.waiting = [delivery_id for delivery_id in self.waiting if delivery_id not in done]
        self.run.counts.update(outcome.state for outcome in outcomes)
        self.settled(len(outcomes))

    def _defer_all(self, reply: str) -> None:
        log.warning("the mail server is unavailable: %s", reply)
        self.run.unavailable = reply
        self._settle([
            Outcome(delivery_id, DeliveryState.DEFERRED, reply, "mail server unavailable", UNAVAILABLE_DELAY)
            for delivery_id in self.waiting
        ])  # fmt: skip

    def _give_back(self) -> None:
        with transaction():
            outbox.give_back(self.lease)
        release_connection()
        self.waiting = []


@contextmanager
def _kept_alive(lease: str, now: Clock) -> Iterator[None]:
    """Renew a lease from a thread of its own for as long as the block runs: one mail may take longer than a lease."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    finished = threading.Event()

    def keep() -> None:
        while not finished.wait(RENEW_EVERY.total_seconds()):
            try:
                with app.app_context(), transaction():
                    outbox.renew(lease, now())
            except Exception:
                log.exception("could not renew a lease")

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        finished.set()
        keeper.join()


def _by_notice(ids: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Group delivery ids by their notice."""
    rows = db.session.execute(
        sa.select(Delivery.notice_id, Delivery.id).where(Delivery.id.in_(list(ids))).order_by(Delivery.notice_id)
    ).all()
    return [(notice_id, [row.id for row in group]) for notice_id, group in groupby(rows, key=lambda row: row.notice_id)]


def _letters(notice_id: int, ids: Sequence[int], now: datetime) -> tuple[list[Letter], list[Outcome]]:
    """Return the mails of a notice that are to go out, and how the others end. Never raises for what a kind does wrong."""
    outcomes = _refusals(notice_id, ids, now)
    remaining = set(ids) - {outcome.delivery_id for outcome in outcomes}
    letters: list[Letter] = []
    if not remaining:
        return letters, outcomes
    try:
        deliveries = _load(remaining)
        renderer = Renderer(deliveries[0].notice, current_settings())
    except Exception as error:
        return letters, outcomes + [_unrendered(one, error) for one in sorted(remaining)]
    for delivery in deliveries:
        try:
            letters.append(renderer.letter(delivery, now))
        except Unaddressable:
            outcomes.append(Outcome(delivery.id, DeliveryState.FAILED, reason="not an address that mail can go to"))
        except Exception as error:
            outcomes.append(_unrendered(delivery.id, error))
    return letters, outcomes


def _unrendered(delivery_id: int, error: Exception) -> Outcome:
    """A mistake in a template or kind is final; a database that did not answer is not."""
    log.error("delivery %s could not be rendered", delivery_id, exc_info=error)
    release_connection()  # a statement that failed would spoil the ones after it
    state = DeliveryState.DEFERRED if isinstance(error, NO_ANSWER) else DeliveryState.FAILED
    return Outcome(delivery_id, state, reason="could not be rendered")


def _load(ids: Iterable[int]) -> list[Delivery]:
    """Load deliveries with their notice, as the database has them now."""
    return list(
        db.session.scalars(
            sa.select(Delivery)
            .where(Delivery.id.in_(list(ids)))
            .options(joinedload(Delivery.notice))
            .order_by(Delivery.id)
            .execution_options(populate_existing=True)
        )
    )


def _refusals(notice_id: int, ids: Sequence[int], now: datetime) -> list[Outcome]:
    """Return the deliveries of a notice that must not go out now: skipped, each with the reason.

    A kind whose check fails holds up its own mail and no other: that is tried again later.
    """
    release_connection()  # a new snapshot: what was decided a moment ago must count
    deliveries = _load(ids)
    notice = deliveries[0].notice
    try:
        reasons = dict(_reasons(notice, deliveries, now))
    except Exception:
        log.exception("the check of notice %s failed", notice_id)
        release_connection()
        return [Outcome(one, DeliveryState.DEFERRED, reason="could not be checked") for one in ids]
    return [Outcome(one, DeliveryState.SKIPPED, reason=reason) for one, reason in reasons.items()]


def _reasons(notice: Notice, deliveries: Sequence[Delivery], now: datetime) -> Iterator[tuple[int, str]]:
    if notice.cancelled_at is not None:
        yield from ((delivery.id, outbox.CANCELLED) for delivery in deliveries)
        return
    suppressed = suppression.suppressed(delivery.address for delivery in deliveries)
    people = {delivery.user_id for delivery in deliveries}
    unwanted: set[int] = set()
    closed: set[int] = set()
    if notice.topic is not None and notice.product_id is not None:
        wanted = subscriptions.subscribed(notice.product_id, notice.topic)
        unwanted = people - set(db.session.scalars(wanted.where(subscriptions.is_one_of(people))))
        closed = people - set(db.session.scalars(sa.select(_users.c.id).where(_users.c.id.in_(people), _users.c.active.is_(True))))
    # A test goes to whoever asked for it, who need not be one of the audience.
    is_test = notice.context.get("test") is True
    asked = kinds.is_known(notice.kind) and not is_test
    refused = kinds.find(notice.kind).check(notice, deliveries, now) if asked else {}
    for delivery in deliveries:
        if delivery.address.lower() in suppressed:
            yield delivery.id, "address suppressed"
        elif delivery.user_id in closed:
            yield delivery.id, "account closed"
        elif delivery.user_id in unwanted:
            yield delivery.id, "switched off"
        elif delivery.id in refused:
            yield delivery.id, refused[delivery.id]
