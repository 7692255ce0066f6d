"""The audit log: only added to, by whoever asks; read by person, act, subject and day; forgotten only by the documented ways."""

import json
from datetime import timedelta
from io import StringIO

import flask_migrate
import pytest
import sqlalchemy as sa
from flask import Flask

from portal import audit, clock, worker
from portal.account import contracts, people
from portal.account.models import Contract, User
from portal.audit import AuditEvent, AuditOpening
from portal.config import Settings
from portal.database import db, transaction
from portal.home import audit_log
from portal.home.audit_log import Search
from tests.cast import Cast
from tests.conftest import NOW, make_settings
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")


def record(action: str = "test.happened", actor: User | None = None, **details: object) -> None:
    with transaction():
        audit.record(action, subject_type="product", subject_id=1, actor=actor, now=clock.now(), **details)


def find(email: str) -> User:
    person = people.find_person(email)
    assert person is not None
    return person


def read(**asked: object) -> list[str]:
    return [line.event.action for line in audit_log.page(Search(**asked)).lines]  # type: ignore[arg-type]


# Append-only ---------------------------------------------------------------------------------------------------------------------


def test_the_database_refuses_to_change_or_delete_an_event() -> None:
    record()
    for statement in (
        sa.update(AuditEvent).values(actor="somebody else"),
        sa.update(AuditEvent).values(details={}),
        sa.update(AuditEvent).values(at=NOW),
        sa.delete(AuditEvent),
        sa.text("UPDATE audit_events SET action = 'nothing'"),
        sa.text("DELETE FROM audit_events"),
    ):
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), transaction() as session:
            session.execute(statement)
    assert read() == ["test.happened"]


def test_the_whole_log_cannot_be_emptied_at_once_on_postgresql() -> None:
    record()
    if db.engine.dialect.name != "postgresql":
        return  # SQLite knows no TRUNCATE
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), transaction() as session:
        session.execute(sa.text("TRUNCATE audit_events"))


def test_even_while_it_is_open_nobody_can_change_what_happened() -> None:
    record()
    for column in ("at", "action", "subject_type", "subject_id", "actor_id", "person_id", "source"):
        value = {"at": NOW - timedelta(days=1), "subject_type": "x", "action": "x", "source": "x"}.get(column, 7)
        with pytest.raises(sa.exc.IntegrityError, match="append-only"), transaction() as session, audit.opened("a test"):
            session.execute(sa.update(AuditEvent).values({column: value}))


def test_the_log_is_closed_again_within_the_transaction_that_opened_it() -> None:
    record(note="Bob")
    with transaction() as session:
        with audit.opened("a test"):
            session.execute(sa.update(AuditEvent).values(details={"note": "gone"}))
        assert session.scalar(sa.select(sa.func.count()).select_from(AuditOpening)) == 0
        with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
            session.execute(sa.update(AuditEvent).values(details={}))
    event = db.session.scalars(sa.select(AuditEvent)).one()
    assert event.details == {"note": "gone"}


# What an event holds -------------------------------------------------------------------------------------------------------------


def test_a_detail_that_is_called_like_a_secret_is_refused() -> None:
    for name in ("password", "token", "secret", "nonce", "code"):
        with pytest.raises(ValueError, match="must not hold"):
            audit.record("test.happened", subject_type="product", subject_id=1, actor=None, now=NOW, **{name: "x"})


def test_an_event_says_where_it_came_from() -> None:
    record()
    audit.comes_from(audit.Origin("web", "192.0.2.7"))
    try:
        record()
    finally:
        audit.comes_from(None)
    events = db.session.scalars(sa.select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [(event.source, event.address) for event in events] == [("program", None), ("web", "192.0.2.7")]


def test_changes_say_before_and_after_and_cut_long_texts() -> None:
    before, after = {"name": "A", "notes": "x", "same": 1}, {"name": "B", "notes": "y" * 500, "same": 1}
    changed = audit.changes(before, after)
    assert changed["name"] == ["A", "B"]
    assert "same" not in changed
    assert changed["notes"][1] == "y" * 200 + "…"


# Reading -------------------------------------------------------------------------------------------------------------------------


def test_events_are_found_by_who_acted_and_whom_it_concerns(cast: Cast) -> None:
    record("test.acted", find(cast.anton))
    record("test.concerned", find(cast.ada), user_id=find(cast.erin).id)
    assert read(person="anton") == ["test.acted"]
    assert read(person=cast.erin)[0] == "test.concerned"
    assert read(person="nobody@example.org") == []


def test_events_are_found_by_act_and_by_subject(cast: Cast) -> None:
    with transaction():
        contracts.suspend(contracts.find_contract(cast.contract), actor=find(cast.anton), now=clock.now())
    assert read(action="contract.sus") == ["contract.suspended"]
    assert read(subject=cast.contract)[0] == "contract.suspended"
    number = db.session.scalars(sa.select(Contract.id).where(Contract.number == cast.contract)).one()
    assert read(subject=f"contract {number}") == read(subject=cast.contract)
    assert read(subject="no such thing") == []
    assert audit_log.page(Search(subject=cast.contract)).lines[0].subject == cast.contract


def test_a_day_is_a_day_of_the_readers_zone() -> None:
    with transaction():
        audit.record("test.late", subject_type="product", subject_id=1, actor=None, now=NOW.replace(hour=23, minute=30))
    on_24, on_25 = NOW.date(), NOW.date() + timedelta(days=1)
    assert read(since=on_25, zone="UTC") == []
    assert read(since=on_25, until=on_25, zone="Europe/Berlin") == ["test.late"]
    assert read(until=on_24, zone="UTC") == ["test.late"]


def test_a_page_costs_the_same_statements_however_long_the_log_is(app: Flask, cast: Cast) -> None:
    with transaction():
        for number in range(200):
            audit.record(f"test.{number % 7}", subject_type="product", subject_id=1, actor=find(cast.ada), now=clock.now())
    costs = []
    for size in (5, 100):
        db.session.expire_all()
        with statements(app) as run:
            page = audit_log.page(Search(action="test"), size=size)
        costs.append(len(run))
        assert len(page.lines) == size
    assert costs[0] == costs[1]
    seen: list[int] = []
    key: int | None = None
    while True:
        page = audit_log.page(Search(action="test"), key)
        seen += [line.event.id for line in page.lines]
        key = page.next_key
        if key is None:
            break
    assert len(seen) == len(set(seen)) == 200


def test_all_acts_that_ever_happened_are_known() -> None:
    for action in ("b.two", "a.one", "b.two", "c.three"):
        record(action)
    assert audit_log.actions() == ["a.one", "b.two", "c.three"]


def test_an_export_runs_nothing_in_a_spreadsheet() -> None:
    record(note="=HYPERLINK(1)")
    with transaction():
        audit.record("=cmd|' /C calc'!A0", subject_type="product", subject_id=1, actor=None, now=NOW)
    file = StringIO()
    audit_log.write_csv(audit_log.rows(Search()), file)
    assert "'=cmd" in file.getvalue()
    whole = StringIO()
    audit_log.write_json(audit_log.rows(Search()), whole)
    assert [event["action"] for event in json.loads(whole.getvalue())] == ["test.happened", "=cmd|' /C calc'!A0"]


# Retention -----------------------------------------------------------------------------------------------------------------------


def sweep(app: Flask, settings: Settings) -> None:
    """Do what the worker does by the day, for the log."""
    app.extensions["portal.settings"] = settings
    for text, job in worker.SWEEPS:
        if "audit" in text:
            job(clock.now())


def test_addresses_go_and_events_stay(app: Flask, settings: Settings) -> None:
    audit.comes_from(audit.Origin("web", "192.0.2.7"))
    try:
        with transaction():
            audit.record("test.old", subject_type="product", subject_id=1, actor=None, now=NOW - timedelta(days=181))
            audit.record("test.new", subject_type="product", subject_id=1, actor=None, now=NOW - timedelta(days=179))
    finally:
        audit.comes_from(None)
    sweep(app, settings)
    events = db.session.scalars(sa.select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [(event.action, event.address) for event in events] == [("test.old", None), ("test.new", "192.0.2.7")]


def test_old_events_are_deleted_only_where_the_vendor_says_so(app: Flask, settings: Settings) -> None:
    with transaction():
        audit.record("test.old", subject_type="product", subject_id=1, actor=None, now=NOW - timedelta(days=800))
    sweep(app, settings)
    assert read() == ["test.old"]
    sweep(app, make_settings(settings.data_dir, settings.database_url, audit_days=365))
    assert read() == []


# From before -----------------------------------------------------------------------------------------------------------------------


def test_events_of_before_know_whom_they_concern(cast: Cast) -> None:
    """The migration fills in the person of older events, from their subject or their details."""
    flask_migrate.downgrade(revision="0006")
    insert = "INSERT INTO audit_events (at, actor, action, subject_type, subject_id, details) VALUES (:at, 'x', 'x', :kind, 7, :details)"
    values = [("user", "{}"), ("contract", '{"user_id": 3}'), ("contract", '{"user_id": null}'), ("product", "{}")]
    with transaction() as session:
        for kind, details in values:
            session.execute(sa.text(insert), {"at": "2026-01-01 00:00:00+00", "kind": kind, "details": details})
    flask_migrate.upgrade()
    newest = sa.select(AuditEvent.person_id).order_by(AuditEvent.id.desc()).limit(4)
    assert list(db.session.scalars(newest))[::-1] == [7, 3, None, None]
