"""Releases that publish themselves."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import worker
from portal.audit import AuditEvent
from portal.config import current_settings
from portal.database import db, transaction
from portal.errors import Conflict, Invalid
from portal.notices import rendering, subscriptions
from portal.notices.models import Delivery, Notice, Topic
from portal.products.catalog import find_product
from portal.releases import builds, drafts, publishing, scheduling
from portal.releases.models import Channel, ReleaseState
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, mailed, make_draft, make_published, person, publish

pytestmark = pytest.mark.usefixtures("app_context")

TOMORROW = NOW + timedelta(days=1)


def schedule(release_id: int, at: datetime = TOMORROW) -> None:
    with transaction():
        scheduling.schedule(release_id, at, actor=person("paula@vendor.example.org"), now=NOW)


def publish_due(now: datetime) -> list[int]:
    done = []
    for release_id in scheduling.due(now):
        with transaction():
            found = scheduling.publish_if_due(release_id, now)
            done += [found.id] if found else []
    return done


def test_at_its_time_and_not_before_it_is_published_to_whom_it_concerns_then(cast: Cast) -> None:
    release_id = make_draft()
    schedule(release_id)
    assert (get(release_id).state, get(release_id).scheduled_for) == (ReleaseState.SCHEDULED, TOMORROW)
    assert publish_due(TOMORROW - timedelta(seconds=1)) == []
    with transaction():
        subscriptions.choose(person(cast.bob).id, find_product(cast.product).id, Topic.BETA, wanted=False, now=NOW)
    assert mailed() == []
    assert publish_due(TOMORROW) == [release_id]
    assert (get(release_id).state, get(release_id).published_at) == (ReleaseState.PUBLISHED, TOMORROW)
    assert mailed() == [cast.alice, cast.carol]
    assert publish_due(TOMORROW + timedelta(days=1)) == []


def test_after_days_without_a_worker_everything_due_is_published_in_order(cast: Cast) -> None:
    second, first = make_draft(version="15.3b2"), make_draft(version="15.3b1")
    schedule(second, TOMORROW)
    schedule(first, NOW + timedelta(hours=1))
    assert publish_due(NOW + timedelta(days=9)) == [first, second]


def test_workers_at_the_same_second_publish_once(app: Flask, cast: Cast) -> None:
    release_id = make_draft()
    schedule(release_id)
    db.session.remove()
    together, outcomes = threading.Barrier(4), []

    def work() -> None:
        with app.app_context():
            together.wait()
            with transaction():
                outcomes.append(scheduling.publish_if_due(release_id, TOMORROW) is not None)
            db.session.remove()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert mailed() == [cast.alice, cast.bob, cast.carol]


def test_it_can_be_made_a_draft_again(cast: Cast) -> None:
    release_id = make_draft()
    schedule(release_id)
    with transaction():
        scheduling.unschedule(release_id, actor=None, now=NOW)
    assert (get(release_id).state, get(release_id).scheduled_for) == (ReleaseState.DRAFT, None)
    assert publish_due(TOMORROW) == []
    with pytest.raises(Conflict, match="not scheduled: it is a draft"), transaction():
        scheduling.unschedule(release_id, actor=None, now=NOW)
    publish(release_id)
    actions = db.session.scalars(sa.select(AuditEvent.action).where(AuditEvent.subject_id == release_id).order_by(AuditEvent.id))
    assert list(actions)[-3:] == ["release.scheduled", "release.unscheduled", "release.published"]


ACTS: dict[str, Callable[[int], object]] = {
    "edit": lambda release_id: drafts.edit_draft(
        release_id, revision=get(release_id).revision, version="15.3b9", channel=Channel.BETA, kind=None, expires_on=None,
        words=drafts.Words(), actor=None, now=NOW,
    ),
    "correct": lambda release_id: drafts.correct_words(
        release_id, revision=get(release_id).revision, words=drafts.Words(notes="New"), actor=None, now=NOW
    ),
    "discard": lambda release_id: drafts.discard(release_id, actor=None, now=NOW),
    "remove a build": lambda release_id: builds.remove_build(release_id, get(release_id).builds[0].id, actor=None, now=NOW),
    "publish at once": lambda release_id: publishing.publish_release(release_id, actor=None, now=NOW),
    "withdraw": lambda release_id: publishing.withdraw(release_id, "Bad.", actor=None, now=NOW),
    "schedule again": lambda release_id: scheduling.schedule(release_id, TOMORROW, actor=None, now=NOW),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_nothing_of_it_can_be_changed_while_it_is_scheduled(cast: Cast, act: str) -> None:
    release_id = make_draft(notes="Old")
    schedule(release_id)
    with pytest.raises(Conflict), transaction():
        ACTS[act](release_id)
    assert (get(release_id).state, get(release_id).notes, get(release_id).version) == (ReleaseState.SCHEDULED, "Old", "15.3b2")


@pytest.mark.parametrize(
    ("at", "reason"),
    [(NOW, "has passed"), (NOW - timedelta(days=1), "has passed"), (NOW + timedelta(days=367), "more than a year")],
)
def test_only_a_time_that_comes_within_a_year_will_do(cast: Cast, at: datetime, reason: str) -> None:
    release_id = make_draft()
    with pytest.raises(Invalid, match=reason) as refusal:
        schedule(release_id, at)
    assert refusal.value.field == "publish_at"


def test_only_a_draft_that_could_be_published_can_be_scheduled(cast: Cast) -> None:
    bare, ending = make_draft(version="15.3b1"), make_draft(version="15.3b2", expires_on=NOW.date())
    with transaction():
        builds.remove_build(bare, get(bare).builds[0].id, actor=None, now=NOW)
    for release_id, reason in ((bare, "Add a build first"), (ending, "stops running"), (make_published(version="15.3b3"), "already")):
        with pytest.raises(Conflict, match=reason):
            schedule(release_id)


def test_a_draft_that_changed_after_it_was_looked_at_is_not_scheduled(cast: Cast) -> None:
    release_id = make_draft()
    with pytest.raises(Conflict, match="changed after you opened it"), transaction():
        scheduling.schedule(release_id, TOMORROW, revision=get(release_id).revision - 1, actor=None, now=NOW)


def test_what_cannot_be_published_at_its_time_becomes_a_draft_and_managers_are_told(app: Flask, cast: Cast) -> None:
    broken, good = make_draft(version="15.3b1"), make_draft(version="15.3b2")
    for release_id in (broken, good):
        schedule(release_id, NOW + timedelta(seconds=1))
    with transaction():
        get(broken).builds[0].damaged_at = NOW
    with transaction():  # due since the last tick
        for release_id in (broken, good):
            get(release_id).scheduled_for = NOW - timedelta(seconds=1)
    db.session.remove()
    worker._publish_scheduled(app)
    assert (get(broken).state, get(broken).scheduled_for) == (ReleaseState.DRAFT, None)
    assert get(good).state is ReleaseState.PUBLISHED
    assert mailed("release_not_published") == [cast.ada, cast.paula]
    delivery = db.session.scalars(sa.select(Delivery).join(Notice).where(Notice.kind == "release_not_published").limit(1)).one()
    mail = rendering.Renderer(delivery.notice, current_settings()).texts(rendering.due_of(delivery), NOW)
    assert mail.subject == "Macro Studio 15.3b1 was not published as scheduled"
    for part in (mail.text, mail.html):
        assert "Damaged in storage" in part
        assert "http://127.0.0.1:8000/staff/releases/macro-studio/15.3b1/" in part
    worker._publish_scheduled(app)
    assert len(mailed("release_not_published")) == 2


def test_an_unexpected_failure_is_told_too_and_keeps_no_other_release_waiting(app: Flask, cast: Cast) -> None:
    broken, good = make_draft(version="15.3b1"), make_draft(version="15.3b2")
    for release_id in (broken, good):
        schedule(release_id)
    with transaction() as session:
        session.add(Notice(kind="release", key=f"release-{broken}-published", context={}, created_at=NOW))
        for release_id in (broken, good):
            get(release_id).scheduled_for = NOW - timedelta(seconds=1)
    db.session.remove()
    worker._publish_scheduled(app)
    assert (get(broken).state, get(good).state) == (ReleaseState.DRAFT, ReleaseState.PUBLISHED)
    assert mailed("release_not_published") == [cast.ada, cast.paula]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2027-01-31T09:00", "Europe/Berlin", datetime(2027, 1, 31, 8, 0, tzinfo=UTC)),
        (" 2027-07-01 09:00 ", "America/New_York", datetime(2027, 7, 1, 13, 0, tzinfo=UTC)),
        ("2027-01-31T09:00:30", "UTC", datetime(2027, 1, 31, 9, 0, 30, tzinfo=UTC)),
        ("2027-01-31T09:00+05:30", "Europe/Berlin", datetime(2027, 1, 31, 3, 30, tzinfo=UTC)),
        ("2027-01-31T09:00Z", "Europe/Berlin", datetime(2027, 1, 31, 9, 0, tzinfo=UTC)),
        ("2027-10-31T02:30", "Europe/Berlin", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),  # it comes twice: the first
    ],
)
def test_times_are_read_on_the_clocks_of_the_reader(text: str, zone: str, expected: datetime) -> None:
    assert scheduling.read_time(text, zone) == expected


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-02-30T09:00", "2027-01-31T25:00", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00+23:00", "\0"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Enter a date and a time"):
        scheduling.read_time(text, "Europe/Berlin")


def test_an_hour_that_the_clocks_leave_out_is_refused() -> None:
    with pytest.raises(Invalid, match="put forward"):
        scheduling.read_time("2027-03-28T02:30", "Europe/Berlin")
