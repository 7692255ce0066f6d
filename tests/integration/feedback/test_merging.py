"""Two items become one, and come apart again exactly; nothing leaks and no vote is lost."""

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, NotFound
from portal.feedback import board, cases, inbox, merging, reading, votes
from portal.feedback.board import Filter
from portal.feedback.models import Item, Merge, Visibility, Vote
from portal.feedback.paging import Place
from tests.board import comment, contract, merge, person, product, release, suspended, unmerge, viewer, vote, write
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
        assert sum(board.count_by_status(viewer(email), Filter()).values()) == 1
        assert merging.leads_to(viewer(email), db.session.get_one(Item, item_id)) == target
    assert [row.item.title for row in inbox.inbox(inbox.InboxFilter(), Place(), now=NOW).rows] == ["New"]
    assert inbox.count_unread() == 1
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


def many_voters(cast: Cast, number: int) -> list[tuple[int, int]]:
    """Sell `number` more contracts of the product; return contract and person of each."""
    with transaction() as session:
        from portal.account import contacts, contracts

        made = []
        for count in range(number):
            buyer = contracts.create_organization(f"Example Buyer {count}", actor=None, now=NOW)
            sold = contracts.create_contract(
                f"NW-9{count:03}", buyer, product(), NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
            )  # fmt: skip
            email = f"buyer{count}@buyers.example.org"
            seat = contacts.name_contact(sold, name="Buyer", email=email, actor=None, now=NOW, invite=False)
            session.flush()
            made.append((sold.id, seat.user_id))
    return made


def run_together(acts: list[Callable[[], None]], app: Flask) -> list[BaseException]:
    """Run all acts at once, each in a thread and app context of its own; return what they raised."""
    start, failures = threading.Barrier(len(acts)), []

    def run(act: Callable[[], None]) -> None:
        try:
            with app.app_context():
                start.wait()
                act()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_merging_and_telling_apart_while_people_vote_loses_no_vote(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
        buyers = many_voters(cast, 24)
        emails = [f"buyer{count}@buyers.example.org" for count in range(24)]

    def press(email: str, pressed: int) -> Callable[[], None]:
        return lambda: vote(email, pressed)

    presses = [press(email, (item_id, target)[number % 2]) for number, email in enumerate(emails)]
    halves = presses[:12], presses[12:]
    assert run_together([*halves[0], lambda: merge(item_id, target)], app) == []
    with app.app_context():
        everyone = {contract(cast.contract).id, contract(cast.other_contract).id, *(sold for sold, _ in buyers[:12])}
        assert live(target) == everyone
        before = live(item_id)  # those who were in time before the merge
    assert run_together([*halves[1], lambda: unmerge(item_id)], app) == []
    with app.app_context():
        everyone |= {sold for sold, _ in buyers[12:]}
        assert live(item_id) | live(target) == everyone
        assert live(item_id) >= before
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote).where(Vote.copy_of_id.is_not(None), live_vote())) == 0


def live_vote() -> sa.ColumnElement[bool]:
    return Vote.withdrawn_at.is_(None)


def live(item_id: int) -> set[int]:
    return set(db.session.scalars(sa.select(Vote.contract_id).where(Vote.item_id == item_id, live_vote())))


def test_two_who_merge_two_items_into_each_other_make_no_circle(app: Flask, cast: Cast) -> None:
    with app.app_context():
        first, second = write(cast.alice, "First"), write(cast.carol, "Second")

    def into(item_id: int, target: int) -> Callable[[], None]:
        return lambda: merge(item_id, target, revisions=(1, 1))

    failures = run_together([into(first, second), into(second, first), into(first, second), into(second, first)], app)
    assert len(failures) == 3
    assert all(isinstance(failure, Conflict) for failure in failures)
    with app.app_context():
        merged = [db.session.get_one(Item, item_id).merged_into_id for item_id in (first, second)]
        assert sorted(merged, key=lambda into: into or 0) in ([None, first], [None, second])
