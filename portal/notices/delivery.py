"""Delivery: claim, check, render, send, settle, until nothing is due.

This is the worker's loop and an edge of its own: it decides what one transaction is. No database connection is held while a
mail is under way. The sender works in groups of as many mails as it has connections, and a group is settled, in one commit,
before the next one is begun; so a worker killed in between leaves at most that many mails that are sent again, under the same
Message-ID. The rest of what it held becomes due when its lease runs out.
"""

import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from flask import Flask, current_app

from portal import clock
from portal.config import current_settings
from portal.database import NO_ANSWER, db, release_connection, transaction
from portal.errors import Busy
from portal.notices import bounces, checking, control, domains, outbox, settling, suppression
from portal.notices.mail_templates import Unrenderable
from portal.notices.mime import Letter
from portal.notices.models import DeliveryState, Notice, SuppressionCause
from portal.notices.outbox import LEASE, Claimed
from portal.notices.rendering import Renderer
from portal.notices.settling import Outcome
from portal.notices.smtp import Result, Sender, Unavailable

log = logging.getLogger(__name__)

# How many deliveries are claimed at once: about as many as go out in a second.
FIRST_BATCH = 64
LARGEST_BATCH = 1024
BATCH_SECONDS = 1.0
# A check older than this is made again before the next mail: "at the second it is sent".
CHECK_LASTS = timedelta(seconds=1)
RENEW_EVERY = LEASE / 6
# While the mail server is down, all wait alike, and not for long: no recipient has refused anything.
UNAVAILABLE_DELAY = timedelta(minutes=5)
SETTLE_TRIES = 6
SETTLE_PAUSE_SECONDS = 1

Clock = Callable[[], datetime]


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
    Any number of threads and processes may run this at once. Raises Busy when the database does not answer; then what was
    claimed comes back when the lease runs out.
    """
    try:
        is_due = outbox.any_due(now())
    except NO_ANSWER as error:
        raise Busy("The database did not answer, so no mail was sent.") from error
    finally:
        release_connection()
    if not is_due:
        return Run()
    with transaction():
        outbox.free_expired_leases(now())
        lease_id = outbox.open_lease(f"{socket.gethostname()[:30]}:{os.getpid()}:{secrets.token_hex(4)}", now())
    round_ = _Round(lease_id, stopping, settled, now)
    with _kept_alive(lease_id, now):
        round_.deliver()
        with transaction():
            outbox.close_lease(lease_id, now())
        release_connection()
    return round_.run


class _Round:
    """One worker's way through what is due, under one lease.

    `waiting` is what was claimed and may still be sent, by delivery id; `under_way` is what the sender has and nobody knows
    the end of.
    """

    def __init__(self, lease_id: int, stopping: Callable[[], bool], settled: Callable[[int], object], now: Clock) -> None:
        self.lease_id = lease_id
        self.stopping = stopping
        self.settled = settled
        self.now = now
        self.run = Run()
        self.waiting: dict[int, Claimed] = {}
        self.under_way: dict[int, Claimed] = {}
        self.renderers: dict[int, Renderer] = {}
        self.paused_domains: Mapping[str, datetime] = {}
        self.deferrals: Counter[str] = Counter()
        self.batch = FIRST_BATCH
        self.checked_at = now()
        self.trouble: Busy | None = None
        self.is_over = False  # the lease is lost

    def deliver(self) -> None:
        settings = current_settings()
        try:
            with (
                Sender(current_app.extensions["mail"], timeout=settings.smtp_timeout, connections=settings.smtp_connections) as sender,
                closing(sender.deliver(self._letters(), self._begin)) as groups,
            ):
                for results in groups:
                    self._note(results)
                    if self.is_over:
                        break  # what is only begun is not sent
        except Unavailable as error:
            self._defer_all(str(error))
        if self.trouble is not None:
            raise self.trouble

    def _letters(self) -> Iterator[Letter]:
        """Claim, check and render batch after batch. The sender takes the letters as it can send them, and a few ahead.

        A database that does not answer ends this, not the sender: what is under way is still answered, and settled.
        """
        try:
            while not self._is_ending():
                began = time.monotonic()
                with transaction():
                    held = outbox.renew(self.lease_id, self.now())
                    claimed = outbox.claim(self.batch, self.lease_id, self.now()) if held else []
                if not claimed:
                    return
                self.waiting.update({one.due.id: one for one in claimed})
                yield from self._prepare(claimed)
                self._adapt(time.monotonic() - began)
        except Busy as error:
            self.trouble = error

    def _is_ending(self) -> bool:
        return self.trouble is not None or self.stopping()

    def _adapt(self, seconds: float) -> None:
        """Claim about a second's worth of mails: more wait in vain when the server is slow, fewer waste statements."""
        if seconds < BATCH_SECONDS / 2:
            self.batch = min(self.batch * 2, LARGEST_BATCH)
        elif seconds > BATCH_SECONDS * 2:
            self.batch = max(self.batch // 2, FIRST_BATCH // 4)

    def _prepare(self, claimed: Sequence[Claimed]) -> Iterator[Letter]:
        """Check what was claimed, then render it, mail by mail as they are taken. Holds no connection meanwhile."""
        self._check()
        for notice_id, group in groupby(sorted(claimed, key=lambda one: (not one.urgent, one.notice_id)), key=lambda one: one.notice_id):
            yield from self._render(notice_id, [one for one in group if one.due.id in self.waiting])

    def _begin(self, letter: Letter) -> bool:
        """Say whether a mail is to go out now. From then on it is under way."""
        if self._is_ending():
            return False
        try:
            if not self._still_to_send(letter.delivery_id):
                return False
        except Busy as error:
            self.trouble = error
            return False
        self.under_way[letter.delivery_id] = self.waiting.pop(letter.delivery_id)
        return True

    def _still_to_send(self, delivery_id: int) -> bool:
        """Check again what has been waiting for more than a second, and hold on to the lease."""
        if self.now() - self.checked_at > CHECK_LASTS:
            with transaction():
                held = outbox.renew(self.lease_id, self.now())
            if not held:
                self._end()
            self._check()
        return delivery_id in self.waiting

    def _end(self) -> None:
        """Others have what this worker held: it was thought dead. Whatever it sends from now on would arrive twice."""
        log.warning("%s deliveries were taken over: this worker was thought dead", len(self.waiting))
        self.is_over = True
        self.waiting.clear()

    def _check(self) -> None:
        """Take out of `waiting` whatever must not go out now, notice by notice, and say so in the database."""
        self.checked_at = now = self.now()
        release_connection()  # a new snapshot: what was decided a moment ago must count
        try:
            self.paused_domains = domains.paused()
        except NO_ANSWER as error:
            raise Busy("The database did not answer while mail was checked.") from error
        self._postpone_paused_domains(now)
        for notice_id in sorted({one.notice_id for one in self.waiting.values()}):
            people = [one.due for one in self.waiting.values() if one.notice_id == notice_id]
            try:
                verdict = checking.check(notice_id, self.lease_id, people, now)
            except Exception:
                # A kind whose check fails holds up its own mail and no other. If it was the database, settling says so.
                log.exception("the check of notice %s failed", notice_id)
                release_connection()
                self._settle([Outcome(one.id, DeliveryState.DEFERRED, reason="could not be checked") for one in people])
                continue
            if verdict.paused:
                self._give_back_notice(notice_id)
            elif verdict.refused:
                self._settle([Outcome(one, DeliveryState.SKIPPED, reason=reason) for one, reason in verdict.refused.items()])
        release_connection()

    def _postpone_paused_domains(self, now: datetime) -> None:
        held: dict[datetime, list[int]] = {}
        for one in self.waiting.values():
            until = self.paused_domains.get(one.domain)
            if until is not None and until > now and not one.urgent:
                held.setdefault(until, []).append(one.due.id)
        if not held:
            return
        with transaction():
            for until, ids in held.items():
                outbox.postpone(self.lease_id, ids, until)
            given_up = domains.give_up(self.paused_domains, now)
        if given_up:
            self.run.counts[DeliveryState.FAILED] += given_up
            self.settled(given_up)
        for delivery_id in (one for ids in held.values() for one in ids):
            del self.waiting[delivery_id]

    def _render(self, notice_id: int, claimed: Sequence[Claimed]) -> Iterator[Letter]:
        """Make the mails of one notice. A text that cannot be rendered pauses its notice; one person's trouble is that person's."""
        if not claimed:
            return
        try:
            made = self._renderer(notice_id).letters([one.due for one in claimed], self.now())
        except NO_ANSWER as error:
            raise Busy("The database did not answer while mail was rendered.") from error
        except Unrenderable as error:
            log.error("notice %s cannot be rendered", notice_id, exc_info=error)
            release_connection()
            with transaction():
                control.pause(notice_id, now=self.now(), reason=str(error))
            self._give_back_notice(notice_id)
            return
        finally:
            release_connection()
        for one in made:
            if isinstance(one, Letter):
                yield one
            else:
                self._settle([Outcome(one.delivery_id, DeliveryState.FAILED if one.final else DeliveryState.DEFERRED, reason=one.reason)])

    def _renderer(self, notice_id: int) -> Renderer:
        """Return what renders a notice. Its text is compiled once, by the first worker, and stored for all others."""
        if notice_id not in self.renderers:
            notice = _load(notice_id)
            renderer = Renderer(notice, current_settings())
            if renderer.compiled is None:
                return renderer  # for one person, so nothing is worth keeping
            if notice.compiled is None:
                with transaction():
                    outbox.keep_compiled(notice_id, renderer.compiled)
                renderer = Renderer(_load(notice_id), current_settings())
            self.renderers[notice_id] = renderer
        return self.renderers[notice_id]

    def _settle(self, outcomes: Sequence[Outcome], also: Callable[[], None] = lambda: None) -> None:
        """Write down what happened, and do `also` in the same transaction.

        The mail is out, so a database that is busy is asked again.
        """
        for tries_left in reversed(range(SETTLE_TRIES)):
            try:
                with transaction():
                    written = settling.settle(self.lease_id, outcomes, self.now())
                    also()
                break
            except Busy:
                if not tries_left:
                    raise
                log.warning("the database did not answer, settling again", exc_info=True)
                time.sleep(SETTLE_PAUSE_SECONDS)
        for outcome in outcomes:
            self.waiting.pop(outcome.delivery_id, None)
            self.under_way.pop(outcome.delivery_id, None)
        if written < len(outcomes):
            self._end()
        self.run.counts.update(outcome.state for outcome in outcomes)
        self.settled(len(outcomes))

    def _note(self, results: Sequence[Result]) -> None:
        """Write down what the mail server answered, and what follows: addresses that are gone, domains to leave alone."""
        taken, to_pause = self._heard_of_domains(results)
        gone = [one for one in results if one.to_recipient and one.state is DeliveryState.BOUNCED and bounces.is_hard(str(one.reply))]
        addresses = {one.delivery_id: self.under_way[one.delivery_id].due.address for one in gone}

        def also() -> None:
            now = self.now()
            if taken:
                domains.forgive(taken)
            for domain, reply in to_pause.items():
                domains.pause(domain, reply, now)
            for one in gone:
                address, reply = addresses[one.delivery_id], str(one.reply)
                suppression.add(address, reply, cause=SuppressionCause.REFUSED, delivery_id=one.delivery_id, now=now)

        self._settle([Outcome(one.delivery_id, one.state, one.reply, one.reason) for one in results], also)
        if to_pause:
            self.checked_at = datetime.min.replace(tzinfo=UTC)  # what waits for such a domain goes back before the next mail

    def _heard_of_domains(self, results: Sequence[Result]) -> tuple[Collection[str], Mapping[str, str]]:
        """Return the paused domains that took a mail, and those that go on deferring, each with its last reply."""
        now = self.now()
        taken: set[str] = set()
        to_pause: dict[str, str] = {}
        for result in results:
            domain = self.under_way[result.delivery_id].domain
            if result.state is DeliveryState.SENT:
                taken.add(domain)
                self.deferrals.pop(domain, None)
            elif result.state is DeliveryState.DEFERRED and result.reason is None and domains.is_deferral(result.reply):
                self.deferrals[domain] += 1
                paused_until = self.paused_domains.get(domain)
                if paused_until <= now if paused_until else self.deferrals[domain] >= domains.DEFERRALS:
                    to_pause[domain] = str(result.reply)
        return taken & self.paused_domains.keys(), to_pause

    def _give_back_notice(self, notice_id: int) -> None:
        """Return what waits of a notice to the queue. What is under way is settled when it is answered."""
        ids = [one.due.id for one in self.waiting.values() if one.notice_id == notice_id]
        with transaction():
            outbox.postpone(self.lease_id, ids, self.now())
        for delivery_id in ids:
            del self.waiting[delivery_id]

    def _defer_all(self, reply: str) -> None:
        log.warning("the mail server is unavailable: %s", reply)
        self.run.unavailable = reply
        self._settle([
            Outcome(delivery_id, DeliveryState.DEFERRED, reply, "mail server unavailable", UNAVAILABLE_DELAY)
            for delivery_id in (*self.under_way, *self.waiting)
        ])  # fmt: skip


def _load(notice_id: int) -> Notice:
    """Load a notice for as long as this worker needs it, whatever becomes of the session."""
    notice = db.session.get_one(Notice, notice_id, populate_existing=True)
    db.session.expunge(notice)
    return notice


@contextmanager
def _kept_alive(lease_id: int, now: Clock) -> Iterator[None]:
    """Renew a lease from a thread of its own for as long as the block runs: one mail may take longer than a lease."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    finished = threading.Event()

    def keep() -> None:
        while not finished.wait(RENEW_EVERY.total_seconds()):
            try:
                with app.app_context(), transaction():
                    outbox.renew(lease_id, now())
            except Exception:
                log.exception("could not renew a lease")

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        finished.set()
        keeper.join()
