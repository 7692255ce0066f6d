"""Alembic's environment: migrations run on the app's own engine, whatever the database."""

from alembic import context
from flask import current_app

from portal.database import Base, UtcDateTime, db

PLAIN_TYPES = {UtcDateTime: "sa.DateTime(timezone=True)"}

options = current_app.extensions["migrate"].configure_args


def render_item(kind: str, item: object, autogen_context: object) -> str | bool:
    """Write our own column types as the plain ones they stand on, so that old migrations never import today's code."""
    return PLAIN_TYPES.get(type(item), False) if kind == "type" else False


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Leave out of comparisons what has no model: the search index of feedback, and the tables FTS5 keeps behind it."""
    return kind != "table" or name is None or not name.startswith("feedback_search")


def run() -> None:
    """Run the migrations in one transaction, on a connection of the app's engine.

    SQLite cannot alter a table that others refer to while foreign keys are enforced, so they rest during a migration
    and are checked at its end.
    """
    with db.engine.connect() as connection:
        sqlite = connection.dialect.name == "sqlite"
        if sqlite:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        context.configure(connection=connection, target_metadata=Base.metadata, render_item=render_item, include_name=is_ours, **options)
        with context.begin_transaction():
            context.run_migrations()
        if sqlite:
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                connection.rollback()
                raise RuntimeError(f"the migration left broken references: {broken}")
        connection.commit()
        if sqlite:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
            connection.exec_driver_sql("BEGIN")


run()
