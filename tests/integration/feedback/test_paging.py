"""Pages by key: nothing twice, nothing skipped, and back again."""

from datetime import timedelta

import pytest

from portal.feedback import board
from portal.feedback.board import Filter, Sort
from portal.feedback.paging import Page, Place
from tests.board import viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def page(cast: Cast, sort: Sort, **place: str | None) -> Page:
    return board.list_items(viewer(cast.alice), Filter(sort=sort), Place(**place), now=NOW, size=3)


@pytest.mark.parametrize("sort", list(Sort))
def test_walking_down_and_up_shows_each_item_once(cast: Cast, sort: Sort) -> None:
    ids = [write(cast.alice, f"Idea {number}", now=NOW - timedelta(hours=number % 3)) for number in range(8)]
    for item_id in ids[::3]:
        vote(cast.carol, item_id)
    seen: list[list[int]] = []
    at = page(cast, sort)
    assert at.newer is None
    for _ in range(3):
        seen.append([row.item.id for row in at.rows])
        at = page(cast, sort, after=at.older) if at.older else at
    assert at.older is None
    assert sorted(item_id for shown in seen for item_id in shown) == ids
    upwards = [seen[-1]]
    for _ in range(2):
        at = page(cast, sort, before=at.newer)
        upwards.insert(0, [row.item.id for row in at.rows])
    assert upwards == seen
    assert at.newer is None


def test_most_contracts_come_first(cast: Cast) -> None:
    first, second = write(cast.alice, "First"), write(cast.alice, "Second")
    vote(cast.carol, first)
    assert [row.item.id for row in page(cast, Sort.CONTRACTS).rows] == [first, second]
    assert [row.item.id for row in page(cast, Sort.NEWEST).rows] == [second, first]


@pytest.mark.parametrize("place", ["", "x", "1", "1~2~3", "~", "1~99999999999999999999", "2026-01-01~1", "9999999999999~1"])
def test_an_unreadable_place_is_the_first_page(cast: Cast, place: str) -> None:
    item_id = write(cast.alice)
    for sort in Sort:
        assert [row.item.id for row in page(cast, sort, after=place).rows] == [item_id]


def test_a_place_beyond_the_end_is_the_first_page(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert [row.item.id for row in page(cast, Sort.CONTRACTS, after="0~0").rows] == [item_id]
