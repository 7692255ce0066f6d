"""Counts the SQL a piece of code runs, so that tests can hold it constant."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from sqlalchemy import event

from portal.database import db


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Collect the SQL statements run inside the block, without those that only begin a transaction."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
