"""The product team's inbox: which items wait, whose they are, and the facts to sort them by.

A fact is a column that everybody can read and check: contracts that vote, what they pay a year, how many of them soon end, how bad it
is. They stand beside each other; no score is made of them. What contracts are worth, and when they end, is for staff alone.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased, joinedload, selectinload

from portal.database import db
from portal.feedback import paging, search, tags, tallies
from portal.feedback.access import LARGEST_ID
from portal.feedback.loop_models import Link
from portal.feedback.models import Item, ItemKind, Status


class View(enum.StrEnum):
    """Which items are listed: those nobody has read, those one member of staff looks after, those nobody does, or all."""

    UNREAD = "unread"
    MINE = "mine"
    UNASSIGNED = "unassigned"
    ALL = "all"


class Sort(enum.StrEnum):
    """What the list is sorted by, the most on top."""

    NEWEST = "newest"
    CHANGED = "changed"
    CONTRACTS = "contracts"
    VALUE = "value"
    ENDING = "ending"
    SEVERITY = "severity"


@dataclass(frozen=True)
class InboxFilter:
    """What the inbox is narrowed to, and sorted by. `person_id` is whose items "mine" are; `release_id` is the release that an item
    is about, or that its status or a link names."""

    person_id: int = 0
    view: View = View.ALL
    search: str = ""
    product_id: int | None = None
    status: Status | None = None
    kind: ItemKind | None = None
    tag_id: int | None = None
    release_id: int | None = None
    sort: Sort = Sort.NEWEST


@dataclass(frozen=True)
class InboxRow:
    """An item with its facts. `cents` are a year's value in hundredths of the vendor's currency, `ending` the contracts that end soon."""

    item: Item
    votes: int
    cents: int
    ending: int


def inbox(wanted: InboxFilter, place: paging.Place, *, now: datetime, size: int = paging.PAGE_SIZE) -> paging.Page:
    """Return a page of InboxRows."""
    sums = tallies.sums(now)
    statement = (
        sa.select(Item, sums.votes, sums.cents, sums.ending)
        .where(*_conditions(wanted))
        .options(
            joinedload(Item.organization), joinedload(Item.release), joinedload(Item.status_release), joinedload(Item.assignee),
            selectinload(Item.tags),
        )
    )  # fmt: skip
    page = paging.fetch(statement, [_key(wanted.sort, sums), sa.type_coerce(Item.id, sa.Integer)], place, size)
    return paging.Page([InboxRow(*row) for row in page.rows], page.newer, page.older)


def count(wanted: InboxFilter) -> dict[View, int]:
    """Return how many items wait in each view that is somebody's to empty, whatever else the list is narrowed to."""
    views = (View.UNREAD, View.MINE)
    numbers = [
        sa.select(sa.func.count()).select_from(Item).where(*_of_view(InboxFilter(wanted.person_id, view))).scalar_subquery()
        for view in views
    ]
    return dict(zip(views, db.session.execute(sa.select(*numbers)).one(), strict=True))


def is_unread(item_id: int) -> bool:
    """Whether an item waits unread; one that is not there does not wait."""
    known = 0 < item_id <= LARGEST_ID
    return known and db.session.scalar(sa.select(Item.id).where(Item.id == item_id, Item.read_at.is_(None))) is not None


@dataclass(frozen=True)
class Waiting:
    """How many items wait for a first decision, and since when the oldest does."""

    items: int
    since: datetime | None


def waiting() -> Waiting:
    """Return what waits for a first decision: under review, and never answered."""
    undecided = (Item.status == Status.UNDER_REVIEW, Item.responded_at.is_(None), Item.merged_into_id.is_(None))
    return Waiting(*db.session.execute(sa.select(sa.func.count(), sa.func.min(Item.created_at)).select_from(Item).where(*undecided)).one())


def _conditions(wanted: InboxFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [*_of_view(wanted), *search.matches(wanted.search)]
    for column, value in ((Item.product_id, wanted.product_id), (Item.status, wanted.status), (Item.kind, wanted.kind)):
        if value is not None:
            conditions.append(column == value)
    if wanted.tag_id is not None:
        conditions.append(tags.bears(wanted.tag_id))
    if wanted.release_id is not None:
        conditions.append(_concerns(wanted.release_id))
    return conditions


def _concerns(release_id: int) -> sa.ColumnElement[bool]:
    """Whether an Item is about a release, or its status or a link names it. One list of numbers: each part of it has its index."""
    about, brought = aliased(Item), aliased(Item)
    return Item.id.in_(
        sa.union_all(
            sa.select(about.id).where(about.release_id == release_id),
            sa.select(brought.id).where(brought.status_release_id == release_id),
            sa.select(Link.item_id).where(Link.release_id == release_id, Link.removed_at.is_(None)),
        )
    )


def _of_view(wanted: InboxFilter) -> list[sa.ColumnElement[bool]]:
    """Merged items stand in no view: the item they were merged into does."""
    conditions: list[sa.ColumnElement[bool]] = [Item.merged_into_id.is_(None)]
    if wanted.view is View.UNREAD:
        conditions.append(Item.read_at.is_(None))
    elif wanted.view is View.MINE:
        conditions.append(Item.assignee_id == wanted.person_id)
    elif wanted.view is View.UNASSIGNED:
        conditions.append(Item.assignee_id.is_(None))
    return conditions


def _key(sort: Sort, sums: tallies.Sums) -> sa.ColumnElement[Any]:
    return {
        Sort.NEWEST: sa.type_coerce(Item.created_at, Item.created_at.type),
        Sort.CHANGED: sa.type_coerce(Item.changed_at, Item.changed_at.type),
        Sort.CONTRACTS: sums.votes,
        Sort.VALUE: sums.cents,
        Sort.ENDING: sums.ending,
        Sort.SEVERITY: sa.type_coerce(Item.severity_rank, sa.Integer),
    }[sort]
