"""The worker: a huey consumer that delivers mail, and a clock beside it that forgets nothing.

The queue only says "look now". What is due stands in the database, so a lost or empty queue costs seconds: every TICK_SECONDS
the main thread publishes what was scheduled, shows that the worker lives, frees what dead workers held, and wakes delivery if
anything is due. While the queue itself is broken, the main thread delivers.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import FrameType

from flask import Flask

from portal import audit, clock, heartbeat, rate_counts
from portal.account import email_changes, known_devices, opt_in, reminders, sessions
from portal.app import DELIVER
from portal.beta import expiry
from portal.config import Settings, current_settings
from portal.database import transaction
from portal.errors import Busy, PortalError
from portal.extensions import queue
from portal.feedback import announcements as feedback_news
from portal.feedback import digest, drafts, tallies
from portal.notices import outbox
from portal.notices import retention as mail_retention
from portal.notices.delivery import deliver_due
from portal.releases import retention as downloads_retention
from portal.releases import scheduling
from portal.releases.builds import sweep_uploads

log = logging.getLogger(__name__)

TICK_SECONDS = 5
SWEEP_SECONDS = 3600
# How long an idle thread waits before it looks into the queue again; PostgreSQL tells it at once.
LONGEST_POLL_SECONDS = 0.5

_delivering = threading.Lock()


def run(app: Flask) -> None:
    """Work until SIGTERM, SIGINT or SIGHUP; the mail in hand is finished first. Several workers may run, on any machine."""
    settings: Settings = app.extensions["portal.settings"]
    audit.name_process(lambda: "worker")
    stopping = threading.Event()
    queue.handle(DELIVER, lambda: _deliver(app, stopping.is_set))
    _publish_scheduled(app)
    _tick(app, stopping.is_set)
    consumer = queue.huey.create_consumer(workers=settings.worker_threads, periodic=False, max_delay=LONGEST_POLL_SECONDS)
    consumer.start()

    def stop(signum: int, frame: FrameType | None) -> None:
        stopping.set()

    # After start(), which sets handlers of its own: to huey one of these signals means to drop the work in hand.
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, stop)
    log.info("the worker has started with %s threads", settings.worker_threads)
    sweep_at = time.monotonic() + TICK_SECONDS
    while not stopping.wait(TICK_SECONDS):
        _publish_scheduled(app)
        _refresh_tallies(app)
        _tick(app, stopping.is_set)
        if time.monotonic() >= sweep_at:
            _sweep(app)
            sweep_at = time.monotonic() + SWEEP_SECONDS
        consumer.check_worker_health()
    log.info("the worker is stopping; it finishes the mail in hand")
    consumer.stop(graceful=True)


def _deliver(app: Flask, stopping: Callable[[], bool]) -> None:
    """Deliver what is due, one thread at a time: a process has SMTP_CONNECTIONS connections, and so many mails in the air."""
    with _delivering, app.app_context():
        done = deliver_due(stopping=stopping)
    if done.total:
        log.info("deliveries: %s", ", ".join(f"{count} {state}" for state, count in sorted(done.counts.items())))


def _committed(job: Callable[[datetime], int]) -> Callable[[datetime], int]:
    def run_job(now: datetime) -> int:
        with transaction():
            return job(now)

    return run_job


def _in_batches(job: Callable[[Settings, datetime], int]) -> Callable[[datetime], int]:
    """Forget by small transactions, as long as anything is left: nobody waits for a lock while a million rows are blanked."""

    def run_job(now: datetime) -> int:
        done = 0
        while True:
            with transaction():
                some = job(current_settings(), now)
            if not some:
                return done
            done += some

    return run_job


def _forget_audit_addresses(settings: Settings, now: datetime) -> int:
    return audit.forget_addresses(now - timedelta(days=settings.audit_address_days))


def _forget_audit_events(settings: Settings, now: datetime) -> int:
    return audit.forget_events(now - timedelta(days=settings.audit_days)) if settings.audit_days else 0


# What is due by the day, and what the log says of it.
SWEEPS: tuple[tuple[str, Callable[[datetime], int]], ...] = (
    ("removed %s broken uploads", sweep_uploads),
    ("forgot %s people who never confirmed", _committed(opt_in.sweep)),
    ("forgot %s sessions of a year ago", _committed(sessions.sweep)),
    ("forgot from where %s downloads were taken", _in_batches(downloads_retention.forget_addresses)),
    ("forgot the texts of %s notices", _in_batches(mail_retention.forget_texts)),
    ("forgot the addresses of %s deliveries", _in_batches(mail_retention.forget_addresses)),
    ("forgot from where %s audited acts came", _in_batches(_forget_audit_addresses)),
    ("deleted %s old events of the audit log", _in_batches(_forget_audit_events)),
    ("forgot %s drafts of feedback that nobody came back to", _committed(drafts.sweep)),
    ("warned of %s betas that end", _committed(expiry.warn)),
    ("made %s reminders of contracts that end", _committed(reminders.send_due)),
    ("made %s digests of the week's feedback", _committed(digest.send_due)),
    ("counted the votes of %s contracts that were changed past the portal", _committed(tallies.audit)),
    ("forgot %s counts of tries", _committed(rate_counts.sweep)),
    ("forgot %s devices that nobody uses", _committed(known_devices.sweep)),
    ("forgot %s changes of address that are over", _committed(email_changes.sweep)),
)


def _sweep(app: Flask) -> None:
    """Do what is due by the day. A job that fails is tried again in an hour, and keeps no other from its turn."""
    for done, job in SWEEPS:
        try:
            with app.app_context():
                count = job(clock.now())
        except Exception:
            log.exception("the worker could not sweep; it tries again in an hour")
        else:
            if count:
                log.info(done, count)


def _tick(app: Flask, stopping: Callable[[], bool]) -> None:
    """Show that the worker lives, free expired leases, mail what waited its hour, wake delivery. Next time, where the database is away."""
    try:
        with app.app_context():
            now = clock.now()
            with transaction():
                heartbeat.beat(heartbeat.WORKER, now=now)
                freed = outbox.free_expired_leases(now)
                feedback_news.send_due(now)
                due = outbox.any_due(now)
        if freed:
            log.warning("%s deliveries of a worker that died are due again", freed)
        if due and not _woken() and not _delivering.locked():
            _deliver(app, stopping)
    except Exception:
        log.exception("the worker could not look after the outbox")


def _publish_scheduled(app: Flask) -> None:
    """Publish what is due. What cannot be published becomes a draft again, and its managers are told."""
    try:
        with app.app_context():
            for release_id in scheduling.due(clock.now()):
                _publish_one(release_id)
    except Exception:
        log.exception("the worker could not publish what is scheduled; it tries again in %s seconds", TICK_SECONDS)


def _refresh_tallies(app: Flask) -> None:
    """Count the votes of contracts that have lapsed, changed or begun. Until then the lists are as right, and slower."""
    try:
        with app.app_context():
            now = clock.now()
            if not tallies.is_current(now):
                with transaction():
                    count = tallies.refresh(now)
                log.info("counted the votes of %s contracts anew", count)
    except Busy:
        log.info("somebody votes at this moment; their votes are counted anew in %s seconds", TICK_SECONDS)
    except Exception:
        log.exception("the worker could not count votes anew; it tries again in %s seconds", TICK_SECONDS)


def _publish_one(release_id: int) -> None:
    """Raises Busy while the database does not answer: that is no reason to give up."""
    try:
        with transaction():
            published = scheduling.publish_if_due(release_id, clock.now())
    except Busy:
        raise
    except Exception as error:
        is_refusal = isinstance(error, PortalError)
        log.warning("release %s was not published as scheduled: %s", release_id, error, exc_info=not is_refusal)
        with transaction():
            scheduling.give_up(release_id, str(error) if is_refusal else "An unexpected error; the worker's log has it.", clock.now())
    else:
        if published is not None:
            log.info("release %s is published as scheduled", release_id)


def _woken() -> bool:
    """See to it that a thread will look into the outbox. False when the queue cannot be used."""
    try:
        # While all threads are busy one wake-up waits for them; a second one would add nothing.
        return queue.pending() > 0 or queue.wake(DELIVER)
    except Exception:
        log.exception("the queue cannot be read")
        return False
