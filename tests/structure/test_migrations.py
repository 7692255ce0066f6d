"""Migrations: one head, up, no drift, down, up again; on both databases."""

import sqlite3
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from flask import Flask

from portal.app import MIGRATIONS
from portal.database import db


def test_there_is_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


@pytest.mark.usefixtures("app_context")
def test_the_models_and_the_migrations_agree() -> None:
    flask_migrate.check()  # ends the process with an error if a migration is missing


@pytest.mark.usefixtures("app_context")
def test_all_can_be_undone_and_done_again() -> None:
    flask_migrate.downgrade(revision="base")
    assert set(sa.inspect(db.engine).get_table_names()) <= {"alembic_version"}
    flask_migrate.upgrade()
    assert "deliveries" in sa.inspect(db.engine).get_table_names()


def test_foreign_keys_are_enforced_on_sqlite(app: Flask) -> None:
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            assert db.session.scalar(sa.text("PRAGMA foreign_keys")) == 1
            assert db.session.scalar(sa.text("PRAGMA synchronous")) == 2
            assert db.session.scalar(sa.text("PRAGMA journal_mode")) == "wal"


def test_a_migrated_database_is_sound(sqlite_template: Path) -> None:
    connection = sqlite3.connect(sqlite_template)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
