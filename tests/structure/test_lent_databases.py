"""What one test leaves behind in PostgreSQL, the next one does not find."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import scalar_row

from portal.app import create_app
from portal.database import db
from portal.extensions import queue
from tests import postgres as databases
from tests.cast import assemble
from tests.conftest import NOW, make_settings
from tests.postgres import Lender


@pytest.fixture
def lender(postgres: str) -> Iterator[Lender]:
    lender = Lender(postgres, "proven")
    yield lender
    lender.close()


def rows(address: str) -> dict[str, list[object]]:
    """Everything that stands in the tables, and where the sequences are."""
    with psycopg.connect(address, autocommit=True, row_factory=scalar_row) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        found = {name: connection.execute(f'SELECT t::text FROM public."{name}" AS t').fetchall() for name in tables}
        found["sequences"] = connection.execute("SELECT p::text FROM pg_sequences AS p WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return found


def test_rows_numbers_and_the_queues_tables_are_as_in_a_fresh_copy(postgres: str, lender: Lender, tmp_path: Path) -> None:
    expected = rows(postgres)
    with lender.lend() as lent:
        app = create_app(make_settings(tmp_path, lent))
        with app.app_context():
            assemble(NOW)
            assert queue.pending() == 0
            db.session.execute(sa.text("UPDATE feedback_tally_state SET currency = 'EUR'"))
            db.session.commit()
            db.session.execute(sa.text("SELECT 1"))  # and the connection stays open
            assert rows(databases.plain(lent)) != expected
    with lender.lend() as again:
        assert again == lent
        assert rows(databases.plain(again)) == expected
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE deliveries RENAME TO away",
        "DROP TABLE downloads",
        "CREATE TABLE another (id integer)",
        "DROP INDEX ix_audit_events_subject",
        "DROP TRIGGER audit_events_whole ON audit_events",
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_guard",
        "CREATE SCHEMA another",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Asia/Kolkata''', current_database()); END $$",
    ],
)
def test_a_database_that_was_defined_otherwise_is_not_lent_again(lender: Lender, statement: str) -> None:
    with lender.lend() as lent, psycopg.connect(databases.plain(lent), autocommit=True) as connection:
        connection.execute(statement)
    assert lender.ready is None
