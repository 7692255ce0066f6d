"""What happens when several do it at once: no vote is lost, none counts twice, nothing is overwritten."""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contacts, contracts
from portal.database import db, transaction
from portal.errors import Conflict
from portal.feedback import behalf, cases, groups, merging, shipping, triage
from portal.feedback.models import CallChannel, Item, Status, StatusChange, Vote
from tests.board import contract, events, merge, person, product, unmerge, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.together import together


def sell(number: int) -> dict[str, int]:
    """Sell `number` more contracts of the product; return each contact's address with the contract's id."""
    sold = {}
    with transaction() as session:
        for count in range(number):
            buyer = contracts.create_organization(f"Example Buyer {count}", actor=None, now=NOW)
            made = contracts.create_contract(
                f"NW-9{count:03}", buyer, product(), NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
            )  # fmt: skip
            email = f"buyer{count}@buyers.example.org"
            contacts.name_contact(made, name="Buyer", email=email, actor=None, now=NOW, invite=False)
            session.flush()
            sold[email] = made.id
    return sold


def presses(emails: Sequence[str], items: tuple[int, int]) -> list[Callable[[], None]]:
    """Everybody's vote, for one of two items in turn."""
    return [partial(vote, email, items[number % 2]) for number, email in enumerate(emails)]


def test_merging_and_telling_apart_while_people_vote_loses_no_vote(app: Flask, cast: Cast) -> None:
    with app.app_context():
        items = item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
        buyers = sell(24)
        authors = {contract(cast.contract).id, contract(cast.other_contract).id}
    early, late = list(buyers)[:12], list(buyers)[12:]
    assert together(app, [*presses(early, items), lambda: merge(item_id, target)]) == []
    with app.app_context():
        assert live(target) == authors | {buyers[email] for email in early}
        in_time = live(item_id)
    assert together(app, [*presses(late, items), lambda: unmerge(item_id)]) == []
    with app.app_context():
        assert live(item_id) | live(target) == authors | set(buyers.values())
        assert live(item_id) >= in_time
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote).where(Vote.copy_of_id.is_not(None), live_vote())) == 0
        assert_tallies_hold(items)


def test_merging_over_and_over_while_people_vote_loses_no_vote(app: Flask, cast: Cast) -> None:
    with app.app_context():
        items = item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")
        buyers = sell(12)

    def merge_and_part() -> None:
        for _ in range(4):
            merge(item_id, target)
            unmerge(item_id)

    assert together(app, [*presses(list(buyers), items), merge_and_part]) == []
    with app.app_context():
        assert live(item_id) | live(target) >= set(buyers.values())
        assert_tallies_hold(items)


@pytest.mark.parametrize("hold", [groups.hold, lambda item_id: shipping.lock_items([item_id])[0].id])
def test_whoever_waited_for_a_merge_holds_the_item_that_stands_and_no_other(app: Flask, cast: Cast, hold: Callable[[int], int]) -> None:
    """Holding the merged one too, they and whoever tells the two apart would wait for each other."""
    with app.app_context():
        target, item_id = write(cast.carol, "New"), write(cast.alice, "Old")
    merged = threading.Event()

    def merge_slowly() -> None:
        with transaction():
            merging.merge(item_id, target, revisions=(1, 1), actor=person(cast.petra), now=NOW)
            merged.set()
            wait_for_somebody_to_wait()

    def hold_merged() -> None:
        merged.wait(10)
        with transaction():
            assert hold(item_id) == target
            with db.engine.connect() as other:
                free = sa.select(Item.id).where(Item.id == item_id).with_for_update(nowait=True)
                assert other.scalar(free) == item_id

    assert together(app, [merge_slowly, hold_merged]) == []


def wait_for_somebody_to_wait() -> None:
    """On SQLite whoever writes waits for the whole transaction, so there is nothing to see."""
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    until = time.monotonic() + 10
    while db.engine.dialect.name == "postgresql" and not db.session.scalar(waiting) and time.monotonic() < until:
        time.sleep(0.01)


def assert_tallies_hold(items: tuple[int, int]) -> None:
    """The numbers that lists are sorted by are those of the votes."""
    for item_id in items:
        assert cases.open_case(item_id, now=NOW).votes == len(live(item_id))


def live_vote() -> sa.ColumnElement[bool]:
    return Vote.withdrawn_at.is_(None)


def live(item_id: int) -> set[int]:
    return set(db.session.scalars(sa.select(Vote.contract_id).where(Vote.item_id == item_id, live_vote())))


def test_two_who_merge_two_items_into_each_other_make_no_circle(app: Flask, cast: Cast) -> None:
    with app.app_context():
        first, second = write(cast.alice, "First"), write(cast.carol, "Second")

    def into(item_id: int, target: int) -> Callable[[], None]:
        return lambda: merge(item_id, target, revisions=(1, 1))

    failures = together(app, [into(first, second), into(second, first), into(first, second), into(second, first)])
    assert len(failures) == 3
    assert all(isinstance(failure, Conflict) for failure in failures)
    with app.app_context():
        merged = [db.session.get_one(Item, item_id).merged_into_id for item_id in (first, second)]
        assert sorted(merged, key=lambda into: into or 0) in ([None, first], [None, second])


def test_of_eight_staff_who_answer_at_once_one_is_heard_and_seven_are_told(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.alice)

    def answer(text: str) -> Callable[[], None]:
        def act() -> None:
            with transaction():
                triage.answer(item_id, revision=1, status=Status.PLANNED, response=text, actor=person(cast.petra), now=NOW)

        return act

    failures = together(app, [answer(f"Answer {number}") for number in range(8)])
    assert [type(failure) for failure in failures] == [Conflict] * 7
    with app.app_context():
        assert db.session.get_one(Item, item_id).revision == 2
        assert db.session.scalar(sa.select(sa.func.count()).select_from(StatusChange)) == 1
        assert len(events("feedback.answered")) == 1


def test_an_answer_and_a_merge_at_once_leave_one_of_them_and_tell_the_other(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id, target = write(cast.alice, "Old"), write(cast.carol, "New")

    def answer() -> None:
        with transaction():
            triage.answer(item_id, revision=1, status=Status.PLANNED, response="Soon.", actor=person(cast.ada), now=NOW)

    failures = together(app, [answer, lambda: merge(item_id, target, revisions=(1, 1))])
    assert [type(failure) for failure in failures] == [Conflict]
    with app.app_context():
        item = db.session.get_one(Item, item_id)
        assert (item.merged_into_id is None) == (item.response == "Soon.")


def test_a_vote_noted_twice_and_given_by_its_contacts_at_once_counts_once(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.carol)

    def note() -> None:
        with transaction():
            behalf.note_vote(
                item_id, cast.contract, channel=CallChannel.PHONE, words="Alice called.", actor=person(cast.petra), now=NOW
            )  # fmt: skip

    failures = together(app, [note, note, lambda: vote(cast.alice, item_id), lambda: vote(cast.bob, item_id)])
    assert all(isinstance(failure, Conflict) for failure in failures)
    with app.app_context():
        assert cases.open_case(item_id, now=NOW).votes == 2
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote)) == 2


def test_who_assigns_at_once_is_told_unless_they_were_first(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.alice)
        people = [person(cast.petra).id, person(cast.ada).id] * 3

    def assign(to: int) -> Callable[[], None]:
        def act() -> None:
            with transaction():
                triage.assign(item_id, to, seen=None, actor=person(cast.ada), now=NOW)

        return act

    failures = together(app, [assign(to) for to in people])
    assert [type(failure) for failure in failures] == [Conflict] * 3
    with app.app_context():
        assert len(events("feedback.assigned")) == 1
