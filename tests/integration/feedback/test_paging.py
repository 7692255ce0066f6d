"""Pages by key: nothing twice, nothing skipped, and back again."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from portal.database import db, transaction
from portal.feedback import board, inbox, tallies
from portal.feedback.board import Filter, Sort
from portal.feedback.inbox import InboxFilter, View
from portal.feedback.models import Item, ItemKind, Severity
from portal.feedback.paging import Page, Place
from tests.board import contract, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def page(cast: Cast, sort: Sort, **place: str | None) -> Page:
    return board.list_items(viewer(cast.alice), Filter(sort=sort), Place(**place), now=NOW, size=3)


def refresh() -> None:
    with transaction():
        tallies.refresh(NOW)


def answer_all() -> None:
    """Let every item be listed by every sort: "answered" lists those with a response alone."""
    with transaction():
        db.session.execute(sa.update(Item).values(responded_at=Item.created_at, response="Yes."))


@pytest.mark.parametrize("sort", list(Sort))
def test_walking_down_and_up_shows_each_item_once(cast: Cast, sort: Sort) -> None:
    ids = [write(cast.alice, f"Idea {number}", now=NOW - timedelta(hours=number % 3)) for number in range(8)]
    for item_id in ids[::3]:
        vote(cast.carol, item_id)
    answer_all()
    assert walk(partial(page, cast, sort)) == ids
    refresh()  # the same, now that the tallies are current
    assert walk(partial(page, cast, sort)) == ids


def walk(page_at: Callable[..., Page]) -> list[int]:
    """Go down three pages and up again; return the items that were seen, in order of their ids."""
    seen: list[list[int]] = []
    at = page_at()
    assert at.newer is None
    for _ in range(3):
        seen.append([row.item.id for row in at.rows])
        at = page_at(after=at.older) if at.older else at
    assert at.older is None
    upwards = [seen[-1]]
    for _ in range(2):
        at = page_at(before=at.newer)
        upwards.insert(0, [row.item.id for row in at.rows])
    assert upwards == seen
    assert at.newer is None
    return sorted(item_id for shown in seen for item_id in shown)


@pytest.mark.parametrize("sort", list(inbox.Sort))
def test_the_inbox_is_walked_by_every_fact_however_much_it_is_worth(cast: Cast, sort: inbox.Sort) -> None:
    with transaction():
        contract(cast.contract).terms[-1].price_cents = 2_000_000_000
        contract(cast.other_contract).terms[-1].price_cents = 2_000_000_000
    ids = [
        write(
            cast.alice,
            f"Problem {number}",
            kind=ItemKind.PROBLEM,
            severity=list(Severity)[number % 3],
            now=NOW - timedelta(hours=number % 3),
        )
        for number in range(8)
    ]
    for item_id in ids[::3]:
        vote(cast.carol, item_id)

    def page_at(**place: str | None) -> Page:
        return inbox.inbox(InboxFilter(view=View.UNREAD, sort=sort), Place(**place), now=NOW, size=3)

    assert walk(page_at) == ids
    refresh()
    assert walk(page_at) == ids
    if sort is inbox.Sort.SEVERITY:
        assert [row.item.severity for row in page_at().rows] == [Severity.HIGH, Severity.HIGH, Severity.MEDIUM]


def test_most_contracts_come_first(cast: Cast) -> None:
    first, second = write(cast.alice, "First"), write(cast.alice, "Second")
    vote(cast.carol, first)
    assert [row.item.id for row in page(cast, Sort.CONTRACTS).rows] == [first, second]
    assert [row.item.id for row in page(cast, Sort.NEWEST).rows] == [second, first]


def test_an_unreadable_place_is_the_first_page(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer_all()
    for place in ("", "x", "1", "1~2~3", "~", "1~99999999999999999999", "2026-01-01~1", "9999999999999~1"):
        for sort in Sort:
            assert [row.item.id for row in page(cast, sort, after=place).rows] == [item_id]


def test_a_place_beyond_the_end_is_the_first_page(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert [row.item.id for row in page(cast, Sort.CONTRACTS, after="0~0").rows] == [item_id]
