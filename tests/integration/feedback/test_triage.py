"""The product team's acts: read, answer, decide, note."""

import pytest
import sqlalchemy as sa

from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import cases, reading, triage
from portal.feedback.models import Item, Status
from portal.releases.models import Channel, Release, ReleaseState
from tests.board import answer, person, release, viewer, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def test_an_answer_is_one_act_with_its_step_and_its_audit_event(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert answer(item_id, Status.PLANNED, version="15.4", response="We will do it.", reason="Many asked.") is True
    told = reading.read(viewer(cast.carol), item_id, now=NOW)
    assert (told.status, told.version, told.response) == (Status.PLANNED, "15.4", "We will do it.")
    assert [(step.status, step.version, step.reason) for step in told.steps] == [(Status.PLANNED, "15.4", "Many asked.")]
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "feedback.answered")).one()
    assert (event.actor_id, event.subject_id) == (person(cast.petra).id, item_id)
    assert event.details["before"]["status"] == "under_review"
    assert event.details["after"] == {"status": "planned", "version": "15.4", "reason": "Many asked."}


def test_an_answer_that_changes_nothing_leaves_no_trace(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED, version="15.4")
    assert answer(item_id, Status.PLANNED, version="15.4") is False
    assert len(reading.list_changes(item_id)) == 1
    assert db.session.get_one(Item, item_id).revision == 2


def test_the_second_of_two_editors_is_told_and_overwrites_nothing(cast: Cast) -> None:
    item_id = write(cast.alice)
    seen = db.session.get_one(Item, item_id).revision
    for text, expected in (("From Petra", None), ("From Ada", Conflict)):
        try:
            with transaction():
                triage.answer(item_id, revision=seen, status=Status.PLANNED, response=text, actor=person(cast.petra), now=NOW)
        except Conflict:
            assert expected is Conflict
        else:
            assert expected is None
    assert db.session.get_one(Item, item_id).response == "From Petra"
    assert len(reading.list_changes(item_id)) == 1


def test_declining_needs_a_reason(cast: Cast) -> None:
    item_id = write(cast.alice)
    with pytest.raises(Invalid) as refused:
        answer(item_id, Status.DECLINED, reason="  ")
    assert refused.value.field == "reason"
    answer(item_id, Status.DECLINED, reason="The interface was withdrawn.", version="15.4")
    told = reading.read(viewer(cast.alice), item_id, now=NOW)
    assert (told.version, told.steps[-1].reason) == ("", "The interface was withdrawn.")


def test_a_status_names_only_releases_that_fit_it(cast: Cast) -> None:
    item_id = write(cast.alice)
    draft, beta = release("15.4b1", state=ReleaseState.DRAFT), release("15.3b2")
    stable, foreign = release("15.2", Channel.STABLE), release("3.0", Channel.STABLE, slug=cast.other_product)
    gone = release("15.3b1", state=ReleaseState.WITHDRAWN)
    for status, release_id in (
        (Status.IN_BETA, draft), (Status.IN_BETA, stable), (Status.SHIPPED, beta), (Status.PLANNED, draft), (Status.PLANNED, foreign),
        (Status.PLANNED, gone), (Status.PLANNED, 10**9),
    ):  # fmt: skip
        with pytest.raises(Invalid) as refused:
            answer(item_id, status, release_id=release_id)
        assert refused.value.field == "release"
    assert answer(item_id, Status.IN_BETA, release_id=beta, version="ignored")
    assert answer(item_id, Status.SHIPPED, release_id=stable)
    assert [step.version for step in reading.list_changes(item_id)] == ["15.3b2", "15.2"]


def test_no_draft_is_offered_so_that_none_is_named_by_accident(cast: Cast) -> None:
    item_id = write(cast.alice)
    release("15.4b1", state=ReleaseState.DRAFT)
    release("15.3b1", state=ReleaseState.WITHDRAWN)
    release("15.3b2")
    release("3.0", Channel.STABLE, slug=cast.other_product)
    assert offered(item_id) == ["15.3b2"]


def test_an_item_keeps_the_release_it_names_when_that_is_withdrawn(cast: Cast) -> None:
    item_id, beta = write(cast.alice), release("15.3b1")
    answer(item_id, Status.IN_BETA, release_id=beta)
    with transaction():
        db.session.get_one(Release, beta).state = ReleaseState.WITHDRAWN
    assert offered(item_id) == ["15.3b1"]
    answer(item_id, Status.IN_BETA, release_id=beta, response="Take beta 2 instead.")
    assert [step.version for step in reading.list_changes(item_id)] == ["15.3b1"]
    with pytest.raises(Invalid):
        answer(item_id, Status.PLANNED, release_id=beta)


def offered(item_id: int) -> list[str]:
    return [release.version for release in triage.releases_to_choose(cases.open_case(item_id, now=NOW).item)]


def test_staff_notes_never_leave_the_staff(cast: Cast) -> None:
    item_id = write(cast.alice)
    with transaction():
        triage.add_note(item_id, "They threaten to leave", staff_only=True, actor=person(cast.petra), now=NOW)
    for email in (cast.alice, cast.carol):
        told = reading.read(viewer(email), item_id, now=NOW)
        assert (told.comments, told.comment_count) == ([], 0)
    assert [note.body for note in cases.open_case(item_id, now=NOW).comments] == ["They threaten to leave"]


@pytest.mark.parametrize("item_id", [0, -1, 999, 2**31, 2**70])
def test_unknown_ids_are_not_found(cast: Cast, item_id: int) -> None:
    with pytest.raises(NotFound):
        cases.open_case(item_id, now=NOW)
    with pytest.raises(NotFound):
        reading.read(viewer(cast.alice), item_id, now=NOW)
