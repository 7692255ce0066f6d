"""Two items become one, and come apart again exactly; nothing leaks and no vote is lost."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, NotFound
from portal.feedback import board, cases, inbox, merging, reading, votes
from portal.feedback.board import Filter
from portal.feedback.models import Item, Merge, Status, Visibility
from portal.feedback.paging import Place
from tests.board import answer, comment, merge, person, release, suspended, unmerge, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW


def voters(item_id: int) -> list[str]:
    """The numbers of the contracts that vote for an item, as staff read them."""
    return sorted(voter.contract.number for voter in cases.open_case(item_id, now=NOW).voters)


def withdraw(email: str, item_id: int) -> None:
    with transaction():
        votes.withdraw(viewer(email), item_id, now=NOW)


@pytest.mark.usefixtures("app_context")
def test_votes_are_united_by_contract_and_told_apart_again(cast: Cast) -> None:
    both, alices, carols = write(cast.alice, "Both"), write(cast.alice, "Alice's"), write(cast.carol, "Carol's")
    vote(cast.carol, both)
    assert merging.compare(alices, both, now=NOW).votes == merging.Sum(1, 2, 1)
    merge(alices, both)
    assert voters(both) == [cast.contract, cast.other_contract]
    merge(both, carols)
    assert voters(carols) == [cast.contract, cast.other_contract]
    assert reading.read(viewer(cast.bob), carols, now=NOW).ours
    unmerge(both)
    unmerge(alices)
    assert [voters(item) for item in (both, alices, carols)] == [
        [cast.contract, cast.other_contract], [cast.contract], [cast.other_contract],
    ]  # fmt: skip


@pytest.mark.usefixtures("app_context")
def test_who_votes_after_the_merge_votes_for_the_target(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.alice, "New")
    withdraw(cast.alice, target)
    merge(item_id, target)
    vote(cast.carol, item_id)  # a page opened before the merge
    assert voters(target) == [cast.contract, cast.other_contract]
    unmerge(item_id)
    assert (voters(item_id), voters(target)) == ([cast.contract], [cast.other_contract])


@pytest.mark.usefixtures("app_context")
def test_a_vote_withdrawn_after_the_merge_is_withdrawn_from_both(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    merge(item_id, target)
    withdraw(cast.bob, item_id)
    assert voters(target) == [cast.other_contract]
    unmerge(item_id)
    assert (voters(item_id), voters(target)) == ([], [cast.other_contract])


@pytest.mark.usefixtures("app_context")
def test_a_vote_withdrawn_and_given_again_after_the_merge_counts_for_both(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    merge(item_id, target)
    withdraw(cast.alice, target)
    vote(cast.alice, target)
    unmerge(item_id)
    assert (voters(item_id), voters(target)) == ([cast.contract], [cast.contract, cast.other_contract])


@pytest.mark.usefixtures("app_context")
def test_a_lapsed_contract_s_vote_comes_along_and_counts_again_after_its_renewal(cast: Cast) -> None:
    item_id, target = write(cast.carol, "Old"), write(cast.alice, "New")
    with suspended(cast.other_contract):
        merge(item_id, target)
        assert voters(target) == [cast.contract]
    assert voters(target) == [cast.contract, cast.other_contract]


@pytest.mark.usefixtures("app_context")
def test_a_merge_over_two_steps_comes_apart_in_reverse_order(cast: Cast) -> None:
    first, second, third = (write(email, email) for email in (cast.alice, cast.carol, cast.carol))
    merge(first, second)
    merge(second, third)
    assert [merged.item.id for merged in merging.merged_into(third)] == [first, second]
    with pytest.raises(Conflict, match=f"Idea {second} was merged itself"):
        unmerge(first)
    vote(cast.alice, first)  # twice is the same as once, however far the way
    assert voters(third) == [cast.contract, cast.other_contract]
    unmerge(second)
    assert (voters(second), voters(third)) == ([cast.contract, cast.other_contract], [cast.other_contract])
    unmerge(first)
    assert (voters(first), voters(second)) == ([cast.contract], [cast.other_contract])


@pytest.mark.usefixtures("app_context")
def test_merging_again_after_telling_apart_leaves_no_vote_behind(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    for _ in range(3):
        merge(item_id, target)
        unmerge(item_id)
    assert (voters(item_id), voters(target)) == ([cast.contract], [cast.other_contract])
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Merge).where(Merge.unmerged_at.is_not(None))) == 3


@pytest.mark.usefixtures("app_context")
def test_a_merged_item_stands_in_no_list_and_its_address_leads_to_the_target(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    merge(item_id, target)
    for email in (cast.alice, cast.carol, cast.petra):
        titles = [row.item.title for row in board.list_items(viewer(email), Filter(), Place(), now=NOW).rows]
        assert titles == ["New"], email
        assert board.read(viewer(email), Filter(), Place(), now=NOW)[1].total == 1
        assert merging.leads_to(viewer(email), db.session.get_one(Item, item_id)) == target
    assert [row.item.title for row in inbox.inbox(inbox.InboxFilter(), Place(), now=NOW).rows] == ["New"]
    assert inbox.count(inbox.InboxFilter())[inbox.View.UNREAD] == 1
    assert board.count_our_votes(viewer(cast.alice)) == 1
    unmerge(item_id)
    assert merging.leads_to(viewer(cast.alice), db.session.get_one(Item, item_id)) is None


@pytest.mark.usefixtures("app_context")
def test_the_lapsed_are_not_led_to_an_item_about_a_beta(cast: Cast) -> None:
    release("15.3b2")
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "About the beta", version="15.3b2")
    merge(item_id, target)
    assert merging.leads_to(viewer(cast.dave), db.session.get_one(Item, item_id)) is None
    assert reading.read(viewer(cast.dave), item_id, now=NOW).item.title == "Old"
    with pytest.raises(NotFound):
        reading.read(viewer(cast.dave), target, now=NOW)


@pytest.mark.usefixtures("app_context")
def test_comments_are_kept_and_shown_under_the_target(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    comment(cast.carol, item_id, "Said of the old one")
    merge(item_id, target)
    comment(cast.alice, item_id, "Sent from a page opened before the merge")
    comment(cast.alice, target, "Said of both")
    told = reading.read(viewer(cast.carol), target, now=NOW)
    assert {said.body for said in told.comments} == {
        "Said of the old one", "Sent from a page opened before the merge", "Said of both",
    }  # fmt: skip
    assert told.comment_count == 3
    assert [merged.item.title for merged in told.merged] == ["Old"]
    unmerge(item_id)
    assert [said.body for said in reading.read(viewer(cast.carol), target, now=NOW).comments] == ["Said of both"]
    assert reading.read(viewer(cast.carol), item_id, now=NOW).comment_count == 2


@pytest.mark.usefixtures("app_context")
def test_what_is_said_on_a_merged_item_while_its_target_is_in_a_beta_is_kept_from_the_lapsed(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    comment(cast.alice, item_id, "Before", now=NOW)
    merge(item_id, target)
    answer(target, Status.IN_BETA, version="15.4b1", now=NOW + timedelta(minutes=1))
    said = comment(cast.alice, item_id, "Crashes in it", now=NOW + timedelta(minutes=2))
    with suspended(cast.contract):
        assert [one.body for one in reading.read(viewer(cast.alice), target, now=NOW).comments] == ["Before"]
        assert not reading.shows_comment(viewer(cast.alice), db.session.get_one(Item, item_id), said)
    assert reading.read(viewer(cast.alice), target, now=NOW).comment_count == 2


@pytest.mark.usefixtures("app_context")
def test_a_private_item_stays_private_under_a_public_one(cast: Cast) -> None:
    secret, target = write(cast.alice, "Secret", visibility=Visibility.PRIVATE), write(cast.carol, "Open")
    comment(cast.bob, secret, "Among us")
    merge(secret, target)
    comment(cast.alice, secret, "Still among us")
    ours, theirs = (reading.read(viewer(email), target, now=NOW) for email in (cast.bob, cast.carol))
    assert [merged.item.title for merged in ours.merged] == ["Secret"]
    assert {said.body for said in ours.comments} == {"Among us", "Still among us"}
    assert (theirs.merged, theirs.comments, theirs.comment_count) == ([], [], 0)
    with pytest.raises(NotFound):
        reading.read(viewer(cast.carol), secret, now=NOW)


@pytest.mark.usefixtures("app_context")
def test_what_would_leak_or_take_away_is_refused(cast: Cast) -> None:
    public, mine = write(cast.alice, "Public"), write(cast.alice, "Mine", visibility=Visibility.PRIVATE)
    theirs, mine_too = write(cast.carol, "Theirs", visibility=Visibility.PRIVATE), write(cast.bob, "Ours", visibility=Visibility.PRIVATE)
    foreign = write(cast.frank, "Foreign", slug=cast.other_product)
    for item_id, target, why in (
        (public, mine, "private to Example Logistics"),
        (mine, theirs, "Both are private"),
        (public, foreign, "two products"),
        (foreign, public, "two products"),
        (public, public, "into itself"),
    ):
        assert why in (merging.compare(item_id, target, now=NOW).refusal or "")
        with pytest.raises(Conflict, match=why):
            merge(item_id, target)
    merge(mine, mine_too)
    for item_id, target, why in ((mine, public, "merged already"), (public, mine, "merged itself"), (mine_too, mine, "merged itself")):
        with pytest.raises(Conflict, match=why):
            merge(item_id, target)
    for item_id, target in ((public, 999), (2**40, public), (0, public)):
        with pytest.raises(NotFound):
            merging.compare(item_id, target, now=NOW)
    with pytest.raises(Conflict, match="not merged"):
        unmerge(public)


@pytest.mark.usefixtures("app_context")
def test_a_merge_of_what_somebody_changed_meanwhile_is_refused(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    for stale in ((7, 1), (1, 7)):
        with pytest.raises(Conflict, match="in the meantime"), transaction():
            merging.merge(item_id, target, revisions=stale, actor=person(cast.petra), now=NOW)
    merge(item_id, target)
    assert [db.session.get_one(Item, number).revision for number in (item_id, target)] == [2, 2]


@pytest.mark.usefixtures("app_context")
def test_merging_and_telling_apart_are_remembered(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
    merge(item_id, target)
    unmerge(item_id)
    events = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action.like("feedback.%merged")).order_by(AuditEvent.id)).all()
    assert [(event.action, event.subject_id, event.actor_id) for event in events] == [
        ("feedback.merged", item_id, person(cast.petra).id), ("feedback.unmerged", item_id, person(cast.petra).id),
    ]  # fmt: skip
    assert events[0].details == {"into": target, "votes": 1, "votes_of_target": 1, "votes_together": 2}
