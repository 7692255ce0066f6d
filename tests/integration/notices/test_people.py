"""The people of a notice by state, domain and address, the domains, and what is held up and why."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import heartbeat
from portal.account.models import User
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, NotFound
from portal.notices import acts, control, people, progress
from portal.notices.models import Delivery, DeliveryState, DomainPause, Notice
from portal.notices.progress import Show, Stage
from portal.notices.selection import Selection
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to, notice
from tests.statements import statements

SENT, BOUNCED, DEFERRED = DeliveryState.SENT, DeliveryState.BOUNCED, DeliveryState.DEFERRED
FAILED, SKIPPED, QUEUED, SENDING = DeliveryState.FAILED, DeliveryState.SKIPPED, DeliveryState.QUEUED, DeliveryState.SENDING
Settle = Callable[..., None]


@pytest.fixture
def settle(app_context: None) -> Settle:
    """Return a function that puts a delivery into a state, as a worker would have left it."""

    def do(notice_id: int, address: str, state: DeliveryState, **values: object) -> None:
        left = {"next_attempt_at": NOW + timedelta(minutes=5) if state is DEFERRED else None, "settled_at": NOW, "attempts": 1, **values}
        with transaction():
            db.session.execute(
                sa.update(Delivery).where(Delivery.notice_id == notice_id, Delivery.address == address).values(state=state, **left)
            )

    return do


def crowd(number: int, domain: str = "crowd.example.org") -> list[str]:
    """Add this many people. Returns their addresses."""
    addresses = [f"person{n:03}@{domain}" for n in range(number)]
    with transaction() as session:
        session.add_all(User(email=address, name="", fs_uniquifier=address, created_at=NOW) for address in addresses)
    return addresses


def names(page: people.RecipientPage) -> list[str]:
    return [delivery.address for delivery in page.deliveries]


# Who ---------------------------------------------------------------------------------------------------------------------------


def test_people_are_found_by_state_domain_and_part_of_an_address(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin)
    enqueue(cast.frank)
    settle(notice_id, cast.alice, SENT)
    settle(notice_id, cast.carol, BOUNCED)
    assert names(people.recipients(notice_id)) == [cast.alice, cast.bob, cast.carol, cast.erin]
    assert names(people.recipients(notice_id, Selection(BOUNCED))) == [cast.carol]
    at_work = people.recipients(notice_id, Selection(domain="logistics.example.org"))
    assert (names(at_work), at_work.total, at_work.counts[SENT], at_work.counts[QUEUED]) == ([cast.alice, cast.bob], 2, 1, 1)
    assert names(people.recipients(notice_id, Selection(SENT, "logistics.example.org"))) == [cast.alice]
    assert names(people.recipients(notice_id, Selection(search="ERIN"))) == [cast.erin]
    assert names(people.recipients(notice_id, Selection(search="%"))) == []
    assert names(people.recipients(notice_id, Selection(search="_"))) == []


def test_a_page_begins_where_the_last_one_ended_whatever_the_states(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    everybody = crowd(25)
    notice_id = enqueue(*everybody)
    for n, address in enumerate(everybody):
        settle(notice_id, address, [SENT, BOUNCED, DEFERRED, SKIPPED, FAILED][n % 5])
    for selection, expected in ((Selection(), everybody), (Selection(BOUNCED), everybody[1::5])):
        seen: list[str] = []
        after: int | None = 0
        while after is not None:
            page = people.recipients(notice_id, selection, after, limit=4)
            seen += names(page)
            after = page.next_after
        assert seen == expected


def test_a_page_costs_the_same_statements_and_walks_the_index(app: Flask, cast: Cast, enqueue: Enqueue) -> None:
    few_people, many_people = enqueue(cast.alice), enqueue(*crowd(people.PAGE * 3))
    counted = []
    for notice_id in (few_people, many_people):
        with statements(app) as seen:
            people.recipients(notice_id)
            people.domains(notice_id, NOW)
            progress.progress_now(progress.find(notice_id), NOW)
        counted.append(len(seen))
    assert counted[0] == counted[1] <= 9
    if db.engine.dialect.name == "sqlite":
        plan = "".join(str(row) for row in db.session.execute(sa.text(f"EXPLAIN QUERY PLAN {page_statement(app, many_people)}")))
        assert plan.count("COVERING INDEX ix_deliveries_notice_state (notice_id=? AND state=? AND id>?)") == len(DeliveryState)


def page_statement(app: Flask, notice_id: int) -> str:
    """The statement that reads a page, with values in the place of its parameters."""
    with statements(app) as seen:
        people.recipients(notice_id, after_id=1)
    return seen[0].replace("?", "1")


def test_domains_with_trouble_come_first_with_what_their_server_said(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin, cast.frank)
    settle(notice_id, cast.alice, SENT, reply="250 2.0.0 Ok")
    settle(notice_id, cast.bob, SENT, reply="250 2.0.0 Ok")
    settle(notice_id, cast.carol, BOUNCED, reply="550 5.1.1 unknown")
    settle(notice_id, cast.erin, DEFERRED, reply="451 4.7.1 greylisted")
    settle(notice_id, cast.frank, SENT)
    with transaction() as session:
        session.add(DomainPause(domain="press.example.org", until=NOW + timedelta(minutes=9), reply="421 4.7.0 slow down"))
        session.add(DomainPause(domain="foods.example.org", until=NOW - timedelta(minutes=1), reply="421 4.7.0 over by now"))
        session.add(DomainPause(domain="clinic.example.org", until=NOW + timedelta(minutes=9), reply="421 nothing waits there"))
    table = people.domains(notice_id, NOW)
    assert [line.domain for line in table.lines] == [
        "press.example.org",
        "foods.example.org",
        "logistics.example.org",
        "clinic.example.org",
    ]
    press, foods, logistics, clinic = table.lines
    assert (press.paused_until, press.reply, press.deferred) == (NOW + timedelta(minutes=9), "421 4.7.0 slow down", 1)
    assert (foods.paused_until, foods.reply, foods.bounced) == (None, "550 5.1.1 unknown", 1)
    assert (logistics.total, logistics.sent, logistics.has_trouble, logistics.reply) == (2, 2, False, None)
    assert (clinic.paused_until, clinic.has_trouble) == (None, False)
    shortened = people.domains(notice_id, NOW, limit=1)
    assert ([line.domain for line in shortened.lines], shortened.total) == (["press.example.org"], 4)


def test_a_delivery_is_found_under_its_own_notice_alone(cast: Cast, enqueue: Enqueue) -> None:
    first, second = enqueue(cast.alice), enqueue(cast.bob)
    delivery = delivery_to(first, cast.alice)
    assert people.find_delivery(first, delivery.id).notice.id == first
    with pytest.raises(NotFound):
        people.find_delivery(second, delivery.id)


# Trying again ------------------------------------------------------------------------------------------------------------------


def test_a_retry_takes_up_exactly_what_is_selected(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.dave, cast.erin, cast.frank)
    for address, state, reply in (
        (cast.alice, FAILED, None),
        (cast.bob, DEFERRED, "451 4.3.0 later"),
        (cast.carol, BOUNCED, "550 5.1.1 unknown"),
        (cast.dave, BOUNCED, "552 5.2.2 mailbox full"),
        (cast.erin, SKIPPED, None),
        (cast.frank, SENT, None),
    ):
        settle(notice_id, address, state, reply=reply)
    for selection, number in (
        (Selection(), 3),
        (Selection(domain="logistics.example.org"), 2),
        (Selection(FAILED), 1),
        (Selection(FAILED, "foods.example.org"), 0),
        (Selection(BOUNCED), 2),
        (Selection(SKIPPED), 1),
        (Selection(search="dave"), 1),
        (Selection(SENT), 0),
        (Selection(QUEUED), 0),
        (Selection(SENDING), 0),
    ):
        assert people.count_retryable(notice_id, selection) == number
        with transaction() as session:
            assert control.retry(notice_id, now=NOW, among=selection) == number
            session.rollback()
    with transaction():
        assert control.retry(notice_id, now=NOW, among=Selection(BOUNCED, "foods.example.org")) == 1
    assert delivery_to(notice_id, cast.carol).state is QUEUED
    assert delivery_to(notice_id, cast.dave).state is BOUNCED


def test_what_went_to_an_address_that_was_forgotten_is_not_tried_again(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(notice_id, cast.alice, FAILED)
    settle(notice_id, cast.bob, BOUNCED)
    with transaction():
        db.session.execute(sa.update(Delivery).where(Delivery.notice_id == notice_id).values(address="", name=""))
    for selection in (Selection(), Selection(FAILED), Selection(BOUNCED)):
        assert people.count_retryable(notice_id, selection) == 0
        with transaction():
            assert control.retry(notice_id, now=NOW, among=selection) == 0
    assert progress.progress(notice_id).retryable == 0


def test_a_retry_ends_the_pause_of_the_domains_it_is_for(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.carol)
    settle(notice_id, cast.alice, DEFERRED)
    settle(notice_id, cast.carol, DEFERRED)
    with transaction() as session:
        session.add_all(DomainPause(domain=name, until=NOW + timedelta(hours=1)) for name in ("logistics.example.org", "foods.example.org"))
    with transaction():
        control.retry(notice_id, now=NOW, among=Selection(domain="foods.example.org"))
    assert list(db.session.scalars(sa.select(DomainPause.domain))) == ["logistics.example.org"]


def test_what_is_retried_while_its_notice_is_paused_waits_for_the_end_of_the_pause(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(notice_id, cast.alice, FAILED)
    with transaction():
        acts.pause(notice_id, actor=None, now=NOW)
        acts.retry(notice_id, actor=None, now=NOW)
    waiting = delivery_to(notice_id, cast.alice)
    assert (waiting.state, waiting.next_attempt_at) == (QUEUED, None)


# Acts and their traces ---------------------------------------------------------------------------------------------------------


def test_each_act_leaves_an_event_that_says_who_did_what_to_how_many(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(notice_id, cast.alice, FAILED)
    with transaction() as session:
        paula = session.scalars(sa.select(User).where(User.email == cast.paula)).one()
        acts.pause(notice_id, actor=paula, now=NOW)
        acts.resume(notice_id, actor=paula, now=NOW)
        acts.retry(notice_id, actor=None, now=NOW, among=Selection(FAILED, "logistics.example.org"))
        acts.cancel(notice_id, actor=None, now=NOW)
    events = db.session.scalars(
        sa.select(AuditEvent).where(AuditEvent.subject_type == "notice", AuditEvent.subject_id == notice_id).order_by(AuditEvent.id)
    )
    assert [(event.action, event.actor, event.details) for event in events] == [
        ("notice.paused", paula.label, {"deliveries": 1}),
        ("notice.resumed", paula.label, {"deliveries": 1}),
        (
            "notice.retried",
            "system",
            {"deliveries": 1, "state": "failed", "domain": "logistics.example.org", "via": "command line"},
        ),
        ("notice.stopped", "system", {"deliveries": 2, "via": "command line"}),
    ]


def test_acts_that_make_no_sense_are_refused_and_leave_no_trace(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    running, done, stopped = enqueue(cast.alice), enqueue(cast.bob), enqueue(cast.carol)
    settle(done, cast.bob, SENT)
    with transaction():
        acts.cancel(stopped, actor=None, now=NOW)
    kept = db.session.scalar(sa.select(sa.func.count()).select_from(AuditEvent))
    for act, notice_id, words in (
        (acts.resume, running, "is not paused"),
        (acts.pause, done, "is left to pause"),
        (acts.cancel, done, "is left to stop"),
        (acts.pause, stopped, "is stopped already"),
        (acts.resume, stopped, "is stopped already"),
        (acts.cancel, stopped, "is stopped already"),
        (acts.retry, stopped, "was stopped"),
    ):
        with pytest.raises(Conflict, match=words), transaction():
            act(notice_id, actor=None, now=NOW)
    with transaction():
        acts.pause(running, actor=None, now=NOW)
    with pytest.raises(Conflict, match="is paused already"), transaction():
        acts.pause(running, actor=None, now=NOW)
    for act in (acts.pause, acts.resume, acts.cancel, acts.retry):
        with pytest.raises(NotFound), transaction():
            act(4711, actor=None, now=NOW)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(AuditEvent)) == (kept or 0) + 1


# What holds it up --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def worker(app_context: None) -> None:
    with transaction():
        heartbeat.beat(heartbeat.WORKER, now=NOW)


def test_the_pace_is_measured_from_what_was_settled_in_the_last_minute(cast: Cast, enqueue: Enqueue, settle: Settle, worker: None) -> None:
    everybody = crowd(40)
    notice_id = enqueue(*everybody)
    found = progress.find(notice_id)
    for n, address in enumerate(everybody[:9]):
        settle(notice_id, address, SENT, settled_at=NOW - timedelta(seconds=n))
    assert progress.progress_now(found, NOW).pace is None
    for n, address in enumerate(everybody[9:20]):
        settle(notice_id, address, SENT, settled_at=NOW - timedelta(seconds=20 + n / 10))
    settle(notice_id, everybody[20], SENT, settled_at=NOW - timedelta(seconds=61))
    settle(notice_id, everybody[21], DEFERRED, settled_at=None)
    pace = progress.progress_now(found, NOW).pace
    assert pace is not None
    assert (pace.settled, pace.seconds, pace.waiting) == (20, 21.0, 18)
    assert progress.progress_now(found, NOW + timedelta(minutes=2)).pace is None
    for address in everybody[21:]:
        settle(notice_id, address, SENT)
    assert progress.progress_now(found, NOW).pace is None


def test_what_a_paused_domain_holds_back_is_not_counted_as_going_out_soon(enqueue: Enqueue, settle: Settle, worker: None) -> None:
    taken, held = crowd(30), crowd(25, "slow.example.org")
    notice_id = enqueue(*taken, *held)
    found = progress.find(notice_id)
    for n, address in enumerate(taken[:20]):
        settle(notice_id, address, SENT, settled_at=NOW - timedelta(seconds=n))
    until = NOW + timedelta(minutes=3)
    with transaction():
        db.session.add(DomainPause(domain="slow.example.org", until=until, pauses=1))
        db.session.execute(sa.update(Delivery).where(Delivery.domain == "slow.example.org").values(next_attempt_at=until))
    pace = progress.progress_now(found, NOW).pace
    assert pace is not None
    assert pace.waiting == 10
    for address in taken[20:]:
        settle(notice_id, address, SENT)
    assert progress.progress_now(found, NOW).pace is None


def test_a_notice_tells_who_paused_it_or_that_the_portal_did(cast: Cast, enqueue: Enqueue, worker: None) -> None:
    by_paula, by_command, by_portal = enqueue(cast.alice), enqueue(cast.alice), enqueue(cast.alice)
    with transaction() as session:
        paula = session.scalars(sa.select(User).where(User.email == cast.paula)).one()
        acts.pause(by_paula, actor=paula, now=NOW)
        acts.pause(by_command, actor=None, now=NOW)
        control.pause(by_portal, now=NOW, reason="The template is missing.")
    assert progress.progress_now(notice(by_paula), NOW).paused_by == paula.label
    assert progress.progress_now(notice(by_command), NOW).paused_by == "command line"
    assert progress.progress_now(notice(by_portal), NOW).paused_by is None
    assert notice(by_portal).pause_reason == "The template is missing."
    assert progress.stage_of(notice(by_portal), progress.progress(by_portal)) is Stage.PAUSED


def test_mail_that_waits_without_a_worker_is_called_stranded(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice)
    assert progress.progress_now(notice(notice_id), NOW).is_stranded
    with transaction():
        heartbeat.beat(heartbeat.WORKER, now=NOW)
    assert not progress.progress_now(notice(notice_id), NOW + timedelta(minutes=2)).is_stranded
    assert progress.progress_now(notice(notice_id), NOW + timedelta(minutes=4)).is_stranded
    settle(notice_id, cast.alice, SENT)
    assert not progress.progress_now(notice(notice_id), NOW + timedelta(minutes=4)).is_stranded


def test_what_was_skipped_is_counted_by_reason(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin)
    settle(notice_id, cast.alice, SKIPPED, reason="switched off")
    settle(notice_id, cast.bob, SKIPPED, reason="switched off")
    settle(notice_id, cast.carol, SKIPPED, reason="address suppressed")
    assert list(progress.progress(notice_id).skipped.items()) == [("switched off", 2), ("address suppressed", 1)]


def test_notices_are_listed_by_how_they_fare(cast: Cast, enqueue: Enqueue, settle: Settle) -> None:
    running, paused, broken, done, refused, stopped = (enqueue(cast.alice) for _ in range(6))
    settle(done, cast.alice, SENT)
    settle(refused, cast.alice, BOUNCED)
    with transaction():
        control.pause(paused, now=NOW)
        control.pause(broken, now=NOW, reason="The template is missing.")
        control.cancel(stopped, now=NOW)

    def listed(show: Show | None) -> list[int]:
        return [one.notice.id for one in progress.latest(show=show)]

    assert listed(None) == [stopped, refused, done, broken, paused, running]
    assert listed(Show.RUNNING) == [running]
    assert listed(Show.PAUSED) == [broken, paused]
    assert listed(Show.TROUBLE) == [refused, broken]
    stages = [one.stage for one in progress.latest()]
    assert stages == [Stage.STOPPED, Stage.DONE, Stage.DONE, Stage.PAUSED, Stage.PAUSED, Stage.SENDING]


def test_lists_do_not_load_the_mails(app: Flask, cast: Cast, enqueue: Enqueue) -> None:
    notice_id = enqueue(cast.alice)
    with transaction():
        db.session.execute(sa.update(Notice).where(Notice.id == notice_id).values(compiled={"html": "x" * 1000}))
    with statements(app) as seen:
        progress.latest()
        db.session.expire_all()
        progress.find(notice_id)
    assert not [statement for statement in seen if "compiled" in statement]


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
