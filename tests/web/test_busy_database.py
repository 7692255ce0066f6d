"""A database that is locked or away is answered with a form or a page that says so: never a 500, and nothing typed is lost."""

import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from portal import cli, database
from portal.app import create_app
from portal.config import Settings
from portal.database import db
from tests.cast import Cast
from tests.conftest import SECRET, make_settings
from tests.web.feedback.pages import forms, text, words

PATIENCE_MS = 50
GONE = ["sqlite:////nowhere/at/all/portal.db", "postgresql+psycopg://nobody@127.0.0.1:1/none"]

Lock = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A portal that waits no longer than PATIENCE_MS for its turn."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", PATIENCE_MS)
    return settings


def _libpq(settings: Settings) -> str:
    return settings.database.replace("postgresql+psycopg://", "postgresql://", 1)


@pytest.fixture
def locked(settings: Settings) -> Lock:
    """Somebody else's long write: reading goes on, no write gets its turn."""

    @contextmanager
    def on_sqlite() -> Iterator[None]:
        connection = sqlite3.connect(settings.data_dir / "portal.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.close()

    @contextmanager
    def on_postgresql() -> Iterator[None]:
        tables = ", ".join(table.name for table in db.metadata.sorted_tables)
        with psycopg.connect(_libpq(settings)) as connection:
            connection.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            yield

    return on_sqlite if settings.uses_sqlite else on_postgresql


def form_with(names: Collection[str], page: str) -> dict[str, str]:
    """The fields of the form on `page` that has these names."""
    return next(fields for fields in forms(page).values() if set(names) <= set(fields))


@pytest.mark.parametrize(
    ("who", "address", "typed"),
    [
        ("ada", "/staff/products/new", {"slug": "paper-desk", "name": "Paper Desk", "summary": "What was typed"}),
        ("alice", "/feedback/new", {"title": "What was typed", "body": "A long text.", "kind": "idea", "product": "macro-studio"}),
        ("alice", "/account/", {"name": "What was typed"}),
        (
            "anton",
            "/staff/contracts/new",
            {"number": "NW-9", "organization": "What was typed", "product": "macro-studio", "starts_on": "2026-11-24"},
        ),
        ("anton", "/staff/customers/new", {"name": "What was typed", "email": "nina@press.example.org", "organization": "Example Press"}),
        (
            "paula",
            "/staff/releases/new",
            {"product": "macro-studio", "version": "16.0", "channel": "stable", "summary": "What was typed", "kind": "major"},
        ),
    ],
)
def test_a_form_that_meets_a_lock_keeps_what_was_typed_and_works_a_little_later(
    cast: Cast, sign_in: Callable[[str], FlaskClient], locked: Lock, who: str, address: str, typed: dict[str, str]
) -> None:
    client = sign_in(getattr(cast, who))
    sent = {**form_with(typed, text(client, address)), **typed}
    with locked():
        answer = client.post(address, data=sent)
    assert answer.status_code in {200, 400}
    assert "did not answer in time" in words(answer.text)
    assert typed.items() <= form_with(typed, answer.text).items()
    assert client.post(address, data=sent).status_code in {302, 303}


def test_a_button_that_meets_a_lock_is_answered_with_when_to_try_again(
    cast: Cast, sign_in: Callable[[str], FlaskClient], locked: Lock
) -> None:
    client = sign_in(cast.alice)
    token = next(iter(forms(text(client, "/account/security/")).values()))["csrf_token"]
    with locked():
        answer = client.post("/account/security/sessions/end-others", data={"csrf_token": token})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "The portal is busy" in answer.text


def test_signing_in_meets_a_lock(client: FlaskClient, cast: Cast, locked: Lock) -> None:
    filled = next(iter(forms(text(client, "/sign-in")).values()))
    with locked():
        answer = client.post("/sign-in", data={**filled, "email": cast.alice, "password": "correct horse battery staple"})
    assert answer.status_code == 503


def test_a_command_that_meets_a_lock_says_so_in_one_sentence(cast: Cast, settings: Settings, locked: Lock) -> None:
    environment = {"DATA_DIR": str(settings.data_dir), "DATABASE_URL": settings.database_url, "SECRET_KEY": SECRET}
    with locked():
        result = CliRunner().invoke(cli.main, ["contract", "suspend", cast.contract], env=environment)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database cannot be used: ")
    assert "Try again" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(params=GONE)
def away(request: pytest.FixtureRequest, settings: Settings) -> Flask:
    """A portal whose database cannot be reached."""
    return create_app(make_settings(settings.data_dir, request.param))


def test_a_database_that_is_away_is_a_busy_portal(away: Flask) -> None:
    client = away.test_client()
    with client.session_transaction() as session:
        session.update({"_user_id": "somebody", "session": "a token"})
    for address in ("/", "/releases/", "/beta/", "/staff/"):
        answer = client.get(address)
        assert answer.status_code == 503, address
        assert answer.headers["Retry-After"]
    assert client.get("/healthz").status_code == 200
    assert client.get("/metrics").status_code == 200
    assert "database" in client.get("/readyz").text


def test_too_few_connections_are_a_busy_portal(settings: Settings) -> None:
    app = create_app(replace(settings, database_pool_size=1))
    with app.app_context(), ExitStack() as held:
        options = app.config["SQLALCHEMY_ENGINE_OPTIONS"]
        for _ in range(options["pool_size"] + options["max_overflow"]):
            held.enter_context(db.engine.connect())
        assert app.test_client().get("/releases/").status_code == 503


def test_what_the_log_says_of_a_failed_statement_names_nobody(app: Flask) -> None:
    with app.app_context(), pytest.raises(sa.exc.DBAPIError) as failed:
        db.session.execute(sa.text("SELECT 1 FROM nothing WHERE email = :email"), {"email": "nina@press.example.org"})
    assert "nina" not in str(failed.value)
