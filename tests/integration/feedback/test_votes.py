"""One contract, one vote, however many press at once; votes of lapsed contracts do not count."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.database import db, transaction
from portal.errors import Busy
from portal.feedback import board, reading, tallies, votes
from portal.feedback.access import ReadOnly
from portal.feedback.board import Filter
from portal.feedback.models import Item, Vote
from portal.feedback.paging import Place
from tests.board import contract, suspended, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW


def counted(email: str, item_id: int) -> int:
    return reading.read(viewer(email), item_id, now=NOW).votes


@pytest.mark.usefixtures("app_context")
def test_the_author_s_contract_votes_from_the_start_and_a_colleague_adds_none(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.bob, item_id)
    assert counted(cast.alice, item_id) == 1
    vote(cast.carol, item_id)
    vote(cast.carol, item_id)
    assert counted(cast.alice, item_id) == 2
    assert [given.user.email for given in reading.read(viewer(cast.bob), item_id, now=NOW).our_votes] == [cast.alice]


@pytest.mark.usefixtures("app_context")
def test_either_contact_withdraws_the_vote_and_either_gives_it_again(cast: Cast) -> None:
    item_id = write(cast.alice)
    for _ in range(2):
        with transaction():
            votes.withdraw(viewer(cast.bob), item_id, now=NOW)
    assert counted(cast.alice, item_id) == 0
    vote(cast.bob, item_id)
    assert counted(cast.alice, item_id) == 1
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote)) == 2  # the withdrawn one stays as history


@pytest.mark.usefixtures("app_context")
def test_a_lapsed_contract_s_vote_stops_counting_and_a_renewal_brings_it_back(cast: Cast) -> None:
    first, second = write(cast.alice, "First"), write(cast.alice, "Second", now=NOW - timedelta(days=1))
    vote(cast.carol, first)
    assert counted(cast.alice, first) == 2
    with suspended(cast.other_contract):
        assert counted(cast.alice, first) == 1
        assert [row.votes for row in board.list_items(viewer(cast.alice), Filter(), Place(), now=NOW).rows] == [1, 1]
    assert counted(cast.alice, first) == 2
    assert counted(cast.alice, second) == 1


def at_once(app: Flask, acts: Sequence[Callable[[], object]]) -> None:
    """Do everything at the same moment, each in a thread of its own; whoever is told that the database is busy tries again."""
    start = threading.Barrier(len(acts))
    failures: list[object] = []

    def do(act: Callable[[], object]) -> None:
        try:
            with app.app_context():
                start.wait()
                for _ in range(20):
                    try:
                        act()
                    except Busy:
                        continue
                    except ReadOnly:  # suspended at this moment
                        pass
                    break
                else:
                    failures.append("busy all the time")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def refresh() -> None:
    with transaction():
        tallies.refresh(NOW)


def stored(item_id: int) -> int | None:
    return db.session.scalar(sa.select(Item.tally_votes).where(Item.id == item_id))


def test_forty_parallel_votes_of_one_contract_are_one_vote(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.carol)
        refresh()
    at_once(app, [partial(vote, cast.alice if number % 2 else cast.bob, item_id) for number in range(40)])
    with app.app_context():
        assert tallies.is_current(NOW)
        assert counted(cast.alice, item_id) == stored(item_id) == 2
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote).where(Vote.item_id == item_id)) == 2


def test_votes_withdrawals_and_lapses_at_once_leave_the_tally_right(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.alice)
        refresh()

    def withdraw() -> None:
        with transaction():
            votes.withdraw(viewer(cast.carol), item_id, now=NOW)

    def suspend(number: str, at: datetime | None) -> None:
        with transaction():
            contract(number).suspended_at = at

    acts: list[Callable[[], object]] = [partial(vote, cast.carol, item_id), withdraw, partial(vote, cast.bob, item_id), refresh]
    acts += [partial(suspend, cast.contract, NOW), partial(suspend, cast.contract, None), refresh]
    at_once(app, acts * 4)
    with app.app_context():
        refresh()
        live = sa.select(sa.func.count()).select_from(Vote).where(Vote.item_id == item_id, votes.counting(NOW))
        assert stored(item_id) == db.session.scalar(live)
