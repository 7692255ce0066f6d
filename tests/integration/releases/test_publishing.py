"""Publishing and withdrawing."""

import threading

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.notices.kinds import Due
from portal.notices.models import Delivery, Notice, Topic
from portal.releases import announcements, builds, drafts, publishing
from portal.releases.models import Channel, Kind, ReleaseState
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, mailed, make_draft, make_published, person, publish

pytestmark = pytest.mark.usefixtures("app_context")


def test_publishing_a_beta_puts_one_delivery_for_each_subscriber_into_the_outbox(cast: Cast) -> None:
    release_id = make_published()
    release = get(release_id)
    assert (release.state, release.published_at) == (ReleaseState.PUBLISHED, NOW)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release")).one()
    assert (notice.topic, notice.key) == (Topic.BETA, f"release-{release_id}-published")
    assert notice.context == {"release_id": release_id, "title": f"{release.product.name} {release.version}"}
    assert mailed() == [cast.alice, cast.bob, cast.carol]


def test_publishing_is_written_to_the_audit_log(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        publishing.publish_release(release_id, actor=person(cast.paula), now=NOW)
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "release.published")).one()
    assert (event.actor, event.subject_id, event.details["version"]) == ("Paula Example", release_id, "15.3b2")


def test_a_release_without_a_build_is_not_published(cast: Cast) -> None:
    release_id = make_draft()
    with transaction():
        builds.remove_build(release_id, get(release_id).builds[0].id, actor=None, now=NOW)
    with pytest.raises(Conflict, match="Add a build"):
        publish(release_id)
    assert get(release_id).state is ReleaseState.DRAFT
    assert mailed() == []


def test_publishing_twice_is_refused_and_mails_once(cast: Cast) -> None:
    release_id = make_published()
    with pytest.raises(Conflict, match="already published"):
        publish(release_id)
    assert mailed() == [cast.alice, cast.bob, cast.carol]


def test_ten_publishes_at_once_make_one_notice_and_one_delivery_per_person(app: Flask, cast: Cast) -> None:
    release_id = make_draft()
    db.session.remove()
    outcomes: list[str] = []
    together = threading.Barrier(10)

    def press() -> None:
        with app.app_context():
            together.wait()
            try:
                publish(release_id)
                outcomes.append("published")
            except Conflict:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=press) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["published"] + ["refused"] * 9
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice).where(Notice.kind == "release")) == 1
    assert mailed() == [cast.alice, cast.bob, cast.carol]


def test_a_draft_that_changed_after_the_publisher_looked_is_not_published(cast: Cast) -> None:
    release_id = make_draft()
    seen = get(release_id).revision
    with transaction():
        builds.remove_build(release_id, get(release_id).builds[0].id, actor=None, now=NOW)
    with pytest.raises(Conflict, match="changed after you opened it"), transaction():
        publishing.publish_release(release_id, actor=None, now=NOW, revision=seen)


def test_a_notice_that_cannot_be_stored_takes_the_publishing_down_with_it(cast: Cast) -> None:
    release_id = make_draft()
    with transaction() as session:
        session.add(Notice(kind="release", key=announcements.published_key(release_id), context={}, created_at=NOW))
    with pytest.raises(sa.exc.IntegrityError):
        publish(release_id)
    assert get(release_id).state is ReleaseState.DRAFT
    assert mailed() == []


def test_the_last_day_of_a_beta_is_over_when_it_is_where_the_vendor_is(cast: Cast) -> None:
    release_id, evening = make_draft(version="15.3b1", expires_on=NOW.date()), NOW.replace(hour=22, minute=30)
    with transaction():
        release = get(release_id)
        assert publishing.obstacle_to_publishing(release, evening) is None
        assert "has passed" in (publishing.obstacle_to_publishing(release, evening.replace(hour=23)) or "")


def test_correcting_notes_after_publishing_mails_nobody_and_says_when(cast: Cast) -> None:
    release_id = make_published(notes="Frist")
    with transaction():
        drafts.correct_words(release_id, revision=get(release_id).revision, words=drafts.Words(notes="First"), actor=None, now=NOW)
    release = get(release_id)
    assert (release.notes, release.notes_corrected_at) == ("First", NOW)
    assert len(mailed()) == 3


def test_saving_the_same_words_is_no_correction(cast: Cast) -> None:
    release_id = make_published(notes="First")
    with transaction():
        drafts.correct_words(release_id, revision=get(release_id).revision, words=drafts.Words(notes=" First "), actor=None, now=NOW)
    assert get(release_id).notes_corrected_at is None


def test_withdrawing_needs_a_reason_and_keeps_it(cast: Cast) -> None:
    release_id = make_published()
    with pytest.raises(Invalid, match="reason"), transaction():
        publishing.withdraw(release_id, "  ", actor=None, now=NOW)
    with transaction():
        publishing.withdraw(release_id, "The installer removes macros.", actor=None, now=NOW)
    release = get(release_id)
    assert (release.state, release.withdrawn_at, release.withdrawn_reason) == (ReleaseState.WITHDRAWN, NOW, "The installer removes macros.")


@pytest.mark.parametrize("state", ["draft", "withdrawn"])
def test_only_a_published_release_can_be_withdrawn(cast: Cast, state: str) -> None:
    release_id = make_draft()
    if state == "withdrawn":
        publish(release_id)
        with transaction():
            publishing.withdraw(release_id, "Bad.", actor=None, now=NOW)
    with pytest.raises(Conflict, match=state), transaction():
        publishing.withdraw(release_id, "Worse.", actor=None, now=NOW)


def test_what_does_not_exist_cannot_be_published_or_withdrawn(cast: Cast) -> None:
    with pytest.raises(NotFound):
        publish(999)
    with pytest.raises(NotFound), transaction():
        publishing.withdraw(999, "Bad.", actor=None, now=NOW)


def test_at_the_second_of_sending_a_withdrawn_release_is_not_announced(cast: Cast) -> None:
    release_id = make_published()
    with transaction():
        publishing.withdraw(release_id, "Bad.", actor=None, now=NOW)
    notice, deliveries = _pending()
    assert set(announcements.check_release(notice, deliveries, NOW).values()) == {"release withdrawn"}


def test_at_the_second_of_sending_entitlement_is_asked_again(cast: Cast) -> None:
    make_published()
    with transaction():
        person(cast.bob).active = False
    notice, deliveries = _pending()
    refused = announcements.check_release(notice, deliveries, NOW)
    assert {delivery.address: refused.get(delivery.id) for delivery in deliveries} == {
        cast.alice: None,
        cast.bob: "not entitled",
        cast.carol: None,
    }


def test_a_minor_release_is_checked_for_closed_accounts_only(cast: Cast) -> None:
    release_id = make_draft(version="15.3", channel=Channel.STABLE, kind=Kind.MINOR)
    publish(release_id)
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release")).one()
    erin, dave = person(cast.erin), person(cast.dave)
    dave.active = False
    deliveries = [Due(number, one.id, one.email, one.name, NOW) for number, one in enumerate((erin, dave), 1)]
    assert announcements.check_release(notice, deliveries, NOW) == {2: "not entitled"}


def _pending() -> tuple[Notice, list[Due]]:
    notice = db.session.scalars(sa.select(Notice).where(Notice.kind == "release")).one()
    deliveries = db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice.id))
    return notice, [Due(one.id, one.user_id, one.address, one.name, NOW) for one in deliveries]
