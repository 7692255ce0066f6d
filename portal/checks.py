"""What /readyz and /metrics ask, over all floors."""

from collections.abc import Iterable

from flask import Flask

from portal import clock, database, heartbeat
from portal.config import Settings
from portal.extensions import queue
from portal.notices import outbox, progress, smtp
from portal.storage import Store
from portal.web import health
from portal.web.health import Labels, Metric

# How long an answer holds that troubles another server.
SMTP_ANSWER_SECONDS = 5
S3_ANSWER_SECONDS = 5


class WorkerSilent(Exception):
    """No worker has shown for heartbeat.SILENCE that it lives."""


def init_app(app: Flask, settings: Settings) -> None:
    """Register the checks and metrics of this app."""
    storage: Store = app.extensions["portal.storage"]
    health.init_app(app)
    health.register_check(app, "database", database.check)
    health.register_check(app, "queue", queue_answers)
    health.register_check(app, "storage", storage.check if settings.bucket is None else health.remembered(storage.check, S3_ANSWER_SECONDS))
    health.register_check(app, "smtp", health.remembered(lambda: smtp.probe(app.extensions["mail"]), SMTP_ANSWER_SECONDS))
    health.register_check(app, "worker", worker_lives)
    health.register_metrics(app, outbox_metrics)


def queue_answers() -> None:
    queue.pending()


def worker_lives() -> None:
    """Raise WorkerSilent if no worker has lately said that it lives."""
    if heartbeat.is_silent(heartbeat.WORKER, clock.now()):
        raise WorkerSilent(f"last seen {heartbeat.last_beat(heartbeat.WORKER) or 'never'}")


def outbox_metrics() -> Iterable[Metric]:
    now = clock.now()
    states: dict[Labels, float] = {(("state", state.value),): float(count) for state, count in progress.totals().items()}
    yield Metric("portal_deliveries", "Deliveries in the outbox, by state.", states)
    oldest = outbox.oldest_due(now)
    waited = (now - oldest).total_seconds() if oldest else 0.0
    yield Metric("portal_oldest_due_seconds", "How long the oldest due delivery has waited, in seconds.", {(): waited})
    seen = heartbeat.last_beat(heartbeat.WORKER)
    if seen is not None:
        yield Metric(
            "portal_worker_last_seen_seconds", "Seconds since a worker last showed that it lives.", {(): (now - seen).total_seconds()}
        )
