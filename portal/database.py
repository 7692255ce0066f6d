"""The database: models' base, types, and `transaction()`, the only place that commits.

SQLite is opened so that concurrent read-then-write loses no update and meets no "database is locked":
the driver's own transaction handling is off, reads begin with a plain BEGIN, and a transaction that will write begins with
BEGIN IMMEDIATE, so that it waits (busy timeout) for its turn instead of failing when it upgrades from a stale read.
"""

import enum
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, registry

from portal.config import Settings
from portal.errors import Busy

log = logging.getLogger(__name__)

Taken = TypeVar("Taken")

BUSY_TIMEOUT_MS = 10_000
# A connection that has rested for longer is asked whether it still works.
RESTED_SECONDS = 1
# A lock that others held for too long, a server that is away, or a pool with no connection left.
NO_ANSWER = (OperationalError, PoolTimeout)
# That, or a database without our tables (which SQLite calls an operational error too).
UNUSABLE = (*NO_ANSWER, ProgrammingError)
_IN_TRANSACTION = "portal_in_transaction"
_AFTER_COMMIT = "portal_after_commit"
_BEGIN_IMMEDIATE = {"portal_begin": "BEGIN IMMEDIATE"}


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An instant. Goes in and comes out as an aware UTC datetime; naive values are refused.

    Raises ValueError (wrapped by SQLAlchemy as StatementError) on a naive datetime.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime was given where an instant is needed")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def text_enum(kind: type[enum.StrEnum]) -> sa.Enum:
    """Return a column type that stores the members of `kind` by value, as text with a check of its own."""
    return sa.Enum(
        kind,
        name=f"{kind.__name__.lower()}_known",
        native_enum=False,
        create_constraint=True,
        length=20,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Base of every model. The naming convention gives each constraint a name that migrations can use."""

    registry = registry(
        metadata=sa.MetaData(
            naming_convention={
                "ix": "ix_%(table_name)s_%(column_0_N_name)s",
                "uq": "uq_%(table_name)s_%(column_0_N_name)s",
                "ck": "ck_%(table_name)s_%(constraint_name)s",
                "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
                "pk": "pk_%(table_name)s",
            }
        ),
        type_annotation_map={datetime: UtcDateTime, dict[str, Any]: sa.JSON},
    )


db = SQLAlchemy(model_class=Base, disable_autonaming=True)


def init_app(app: Flask, settings: Settings) -> None:
    """Bind `db` to the database of `settings`."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            prepare_sqlite(db.engine)
        else:
            prepare_postgresql(db.engine)


def engine_options(settings: Settings) -> dict[str, Any]:
    """Return the pool and driver options for the database of `settings`."""
    options: dict[str, Any] = {
        "pool_size": settings.pool_size,
        "max_overflow": 0 if settings.uses_sqlite else 10,
        "pool_timeout": BUSY_TIMEOUT_MS / 1000,
        "hide_parameters": True,  # or the log of a statement that failed would show addresses and hashes
    }
    if settings.uses_sqlite:
        options["connect_args"] = {"isolation_level": None, "check_same_thread": False}
    return options


def prepare_postgresql(engine: sa.Engine) -> None:
    """Make an engine wait for a lock as long as on SQLite, ask a connection that has rested whether it still works, and name no values.

    A lock that somebody forgot must not hold all threads. One question to the server for each transaction would be a quarter of what
    settling a few mails costs, so a connection that was in use a moment ago is not asked.
    """

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
        connection.commit()

    @event.listens_for(engine, "checkin")
    def _checkin(connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _checkout(connection: Any, record: Any, proxy: Any) -> None:
        if time.monotonic() - record.info.get("rests_since", time.monotonic()) > RESTED_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise sa.exc.InvalidatePoolError from error  # all were opened to a server that is gone

    @event.listens_for(engine, "handle_error")
    def _keep_values_out_of_logs(context: sa.engine.ExceptionContext) -> None:
        # In DETAIL the server quotes the row or the key, addresses among them. Which rule was broken stands before it.
        error = context.original_exception
        if isinstance(error, psycopg.Error) and error.diag.message_detail:
            error.args = (error.diag.message_primary,)
            if context.sqlalchemy_exception is not None:
                context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error.diag.message_primary}",)


def prepare_sqlite(engine: sa.Engine) -> None:
    """Make an engine with `isolation_level=None` follow this module's rules on each connection."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("portal_begin", "BEGIN"))


@event.listens_for(db.session, "before_flush")
def _write_from_the_start(session: Session, *_: Any) -> None:
    """Let a write outside `transaction()` wait for its turn too.

    Only Flask-Security's views write that way. Their open read is ended below SQLAlchemy, which has written nothing yet,
    and begun again as a write, so that the changes waiting in the session stay there.
    """
    if session.info.get(_IN_TRANSACTION) or session.info.get("portal_writing"):
        return
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    session.info["portal_writing"] = True


@event.listens_for(db.session, "after_transaction_end")
def _forget_write(session: Session, ended: Any) -> None:
    if ended.parent is None:
        session.info.pop("portal_writing", None)


@contextmanager
def transaction() -> Iterator[Session]:
    """Run the block as one transaction: commit at its end, roll back on any exception.

    An open read is ended first, and everything loaded before is read afresh, so a decision made inside
    never rests on an old snapshot. On SQLite the transaction begins as a write and waits for its turn.

    Raises RuntimeError inside another transaction: the edge, and only the edge, decides what is one act. Raises Busy when the
    database does not answer in time; nothing has changed then.
    """
    session: Session = db.session()
    if session.info.get(_IN_TRANSACTION):
        raise RuntimeError("transaction() inside transaction(): only the edge commits")
    try:
        if session.info.get("portal_writing") or session.new or session.dirty or session.deleted:
            session.flush()  # a change that Flask-Security's views left waiting, flushed or not; it belongs to this act
        else:
            session.rollback()
            session.connection(execution_options=_BEGIN_IMMEDIATE)
        session.info[_IN_TRANSACTION] = True
        session.expire_all()
        yield session
        session.commit()
    except BaseException as error:
        session.rollback()
        session.info.pop(_AFTER_COMMIT, None)
        if isinstance(error, NO_ANSWER):
            raise Busy("The database did not answer in time, so nothing was saved. Wait a few seconds, then try again.") from error
        raise
    finally:
        session.info.pop(_IN_TRANSACTION, None)
    _run_after_commit(session)


@contextmanager
def aside(*, reads: bool = False) -> Iterator[sa.Connection]:
    """Run the block in a short transaction of its own, beside the session's, for what must be counted whatever becomes of the request.

    Not to be used while this thread's session has written: on SQLite each would wait for the other. Raises Busy as `transaction` does.
    """
    try:
        with db.engine.connect() as opened:
            connection = opened if reads else opened.execution_options(**_BEGIN_IMMEDIATE)
            with connection.begin():
                yield connection
    except NO_ANSWER as error:
        raise Busy("The database did not answer in time, so nothing was done. Wait a few seconds, then try again.") from error


def locked(take: Callable[[], Taken | None]) -> Taken:
    """Call `take`, which locks rows, until it returns something. None: they were the wrong ones, and are let go before it is called again.

    So nobody holds a row they do not need while they wait for another, and two of them never wait in a circle.
    """
    while True:
        attempt = db.session.begin_nested()
        found = take()
        if found is not None:
            attempt.commit()
            return found
        attempt.rollback()


def commit_pending() -> None:
    """Commit what Flask-Security's views changed; inside `transaction()` its end does that."""
    session: Session = db.session()
    if not session.info.get(_IN_TRANSACTION):
        session.commit()
        _run_after_commit(session)


def after_commit(callback: Callable[[], None]) -> None:
    """Call `callback` once the current transaction has been committed, not at all if it is rolled back.

    Callbacks are hints (wake a worker): one that fails is logged and forgotten. Given twice, it runs once.
    """
    callbacks: list[Callable[[], None]] = db.session().info.setdefault(_AFTER_COMMIT, [])
    if callback not in callbacks:
        callbacks.append(callback)


def _run_after_commit(session: Session) -> None:
    for callback in session.info.pop(_AFTER_COMMIT, []):
        try:
            callback()
        except Exception:
            log.exception("a hint after the commit failed; the sweeper makes up for it")


def release_connection() -> None:
    """Give the connection back to the pool: nothing is held while a file is streamed or a mail is sent."""
    db.session.remove()


def end_read() -> None:
    """Give the connection back while a body is read; what was loaded stays usable, and is read afresh when it is touched."""
    db.session.rollback()


def check() -> None:
    """Raise whatever the driver raises when the database does not answer."""
    db.session.execute(sa.text("SELECT 1"))


def insert(model: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT into the table of `model` that knows ON CONFLICT, which both databases spell alike."""
    return postgresql.insert(model) if db.engine.dialect.name == "postgresql" else sqlite.insert(model)


def one_of(column: sa.SQLColumnExpression[int], numbers: Collection[int]) -> sa.ColumnElement[bool]:
    """Return `column IN numbers` with one parameter, however many they are: the statement is the same each time.

    A list of a thousand parameters has to be spelled out, read and planned anew for each statement.
    """
    if db.engine.dialect.name == "postgresql":
        return column == sa.any_(sa.cast(list(numbers), postgresql.ARRAY(sa.Integer)))
    listed = sa.func.json_each(json.dumps(list(numbers))).table_valued(sa.column("value", sa.Integer))
    return column.in_(sa.select(listed.c.value))


def is_violation(error: sa.exc.IntegrityError, constraint: str, *columns: str) -> bool:
    """Say whether `error` comes from the unique constraint or index `constraint` over `columns`.

    PostgreSQL names the constraint; SQLite names the columns as `table.column`.
    """
    diagnostic = getattr(error.orig, "diag", None)
    if diagnostic is not None:
        return bool(diagnostic.constraint_name == constraint)
    text = str(error.orig)
    return constraint in text or (bool(columns) and all(column in text for column in columns))
