"""/healthz, /readyz and /metrics."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock, heartbeat
from portal.config import Settings
from portal.database import transaction
from portal.web import health
from tests.cast import Cast
from tests.conftest import make_settings
from tests.smtp import MailServer


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url)


def beat(app: Flask, seconds_ago: float = 0) -> None:
    with app.app_context(), transaction():
        heartbeat.beat(heartbeat.WORKER, now=clock.now() - timedelta(seconds=seconds_ago))


def failing(client: FlaskClient) -> list[str]:
    answer = client.get("/readyz")
    checks = answer.get_json()["checks"]
    assert set(checks) == {"database", "queue", "storage", "smtp", "worker"}
    failed = sorted(name for name, check in checks.items() if not check["ok"])
    assert answer.status_code == (503 if failed else 200)
    return failed


def test_a_living_process_says_so(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}


def test_the_portal_is_ready_once_a_worker_lives(app: Flask, client: FlaskClient) -> None:
    assert failing(client) == ["worker"]
    beat(app, seconds_ago=200)
    assert failing(client) == ["worker"]
    beat(app)
    assert failing(client) == []


def test_a_mail_server_that_is_down_is_told(app: Flask, client: FlaskClient, mail_server: MailServer) -> None:
    beat(app)
    mail_server.stop()
    assert failing(client) == ["smtp"]


def test_a_directory_that_cannot_be_written_is_told(app: Flask, client: FlaskClient, settings: Settings) -> None:
    beat(app)
    assert failing(client) == []
    shutil.rmtree(settings.builds_dir)
    settings.builds_dir.write_text("a file is in the way")
    assert failing(client) == ["storage"]


def test_an_answer_that_is_remembered_is_not_asked_for_again() -> None:
    asked = []

    def check() -> None:
        asked.append(1)
        raise OSError("down")

    remembered = health.remembered(check, 60)
    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            remembered()
    assert len(asked) == 1


def test_metrics_are_in_prometheus_format(app: Flask, client: FlaskClient, cast: Cast) -> None:
    beat(app)
    answer = client.get("/metrics")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    samples = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert samples['portal_deliveries{state="queued"}'] == "0"
    assert float(samples["portal_oldest_due_seconds"]) == 0
    assert float(samples["process_resident_memory_bytes"]) > 1_000_000
    age = clock.now().timestamp() - float(samples["process_start_time_seconds"])
    real_age = time_machine.escape_hatch.time.time() - os.stat("/proc/self").st_ctime
    assert abs(age - real_age) < 120
    assert float(samples["portal_worker_last_seen_seconds"]) < 60
