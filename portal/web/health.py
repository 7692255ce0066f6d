"""Is the portal alive, can it work, and how is it doing: for load balancers and monitoring.

This floor knows no feature: what is asked is registered when the app is built (`portal.checks`).
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, public

log = logging.getLogger(__name__)

blueprint = Blueprint("health", __name__)
protect(blueprint, public)

# Returns if all is well, else raises; the class of what it raises is shown, its text is logged: this page is public.
Check = Callable[[], None]


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Metric:
    """One metric in Prometheus's text format: samples are values by their labels, such as {(("state", "sent"),): 3}."""

    name: str
    meaning: str
    samples: Mapping[Labels, float]
    kind: str = "gauge"

    def lines(self) -> Iterable[str]:
        yield f"# HELP {self.name} {self.meaning}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples.items():
            shown = ",".join(f'{name}="{text}"' for name, text in labels)
            yield f"{self.name}{{{shown}}} {value:g}" if shown else f"{self.name} {value!r}"


Collector = Callable[[], Iterable[Metric]]


@dataclass
class _Registered:
    checks: dict[str, Check] = field(default_factory=dict)
    collectors: list[Collector] = field(default_factory=list)


def init_app(app: Flask) -> None:
    app.extensions["portal.health"] = _Registered()


def register_check(app: Flask, name: str, check: Check) -> None:
    """Let /readyz ask `check` as well."""
    app.extensions["portal.health"].checks[name] = check


def register_metrics(app: Flask, collector: Collector) -> None:
    """Let /metrics show what `collector` gives as well."""
    app.extensions["portal.health"].collectors.append(collector)


def remembered(check: Check, seconds: float) -> Check:
    """Return `check` with an answer that holds for some seconds, good or bad: for what is slow or troubles another server."""
    lock = threading.Lock()
    asked_at = -seconds
    answer: Exception | None = None

    def ask() -> None:
        nonlocal asked_at, answer
        with lock:
            if time.monotonic() - asked_at >= seconds:
                try:
                    check()
                    answer = None
                except Exception as error:
                    answer = error
                asked_at = time.monotonic()
            if answer is not None:
                raise answer

    return ask


@blueprint.after_request
def keep_nowhere(response: Response) -> Response:
    """Say so here: whose cache it would be is for the database to know, which may be away."""
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/healthz")
def alive() -> ResponseReturnValue:
    """Say that this process answers."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def ready() -> ResponseReturnValue:
    """Say whether everything the portal needs answers: 200, or 503 with what does not."""
    registered: _Registered = current_app.extensions["portal.health"]
    results = {name: _ask(name, check) for name, check in registered.checks.items()}
    well = all(result["ok"] for result in results.values())
    return {"status": "ok" if well else "unavailable", "checks": results}, 200 if well else 503


def _ask(name: str, check: Check) -> dict[str, object]:
    try:
        check()
    except Exception as error:
        log.warning("the check of the %s failed: %s", name, error)
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True}


@blueprint.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Show numbers in Prometheus's text format, version 0.0.4. What cannot be read now is left out."""
    registered: _Registered = current_app.extensions["portal.health"]
    lines: list[str] = []
    for collector in (process_metrics, *registered.collectors):
        try:
            lines += [line for metric in collector() for line in metric.lines()]
        except Exception:
            log.exception("metrics could not be collected")
    return Response("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


def process_metrics() -> Iterable[Metric]:
    """What the operating system says about this process (Linux)."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    user, system, started = int(fields[11]), int(fields[12]), int(fields[19])
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    yield Metric(
        "process_start_time_seconds", "When this process started, in seconds since 1970.", {(): round(booted_at + started / ticks, 2)}
    )
    yield Metric("process_cpu_seconds_total", "Processor time used, in seconds.", {(): (user + system) / ticks}, "counter")
    yield Metric("process_resident_memory_bytes", "Memory in use, in bytes.", {(): resident})
    yield Metric("process_open_fds", "Open file descriptors.", {(): len(os.listdir("/proc/self/fd"))})
    yield Metric("process_threads", "Threads of this process.", {(): threading.active_count()})
