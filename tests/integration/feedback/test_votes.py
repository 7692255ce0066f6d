"""One contract, one vote, however many press at once; votes of lapsed contracts do not count."""

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.database import db, transaction
from portal.feedback import board, reading, votes
from portal.feedback.board import Filter
from portal.feedback.models import Vote
from portal.feedback.paging import Place
from tests.board import suspended, viewer, vote, write
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


def test_forty_parallel_votes_of_one_contract_are_one_vote(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.carol)
    start, failures = threading.Barrier(40), []

    def press(number: int) -> None:
        try:
            with app.app_context():
                start.wait()
                vote(cast.alice if number % 2 else cast.bob, item_id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=press, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with app.app_context():
        assert counted(cast.alice, item_id) == 2
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Vote).where(Vote.item_id == item_id)) == 2
