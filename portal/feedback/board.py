"""The board: lists of items, found, narrowed and sorted. What is written lies in `writing`, one item's page in `reading`."""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.database import db
from portal.feedback import paging, search, votes
from portal.feedback.access import Viewer, has_status, show_status, status_shown_to, visible_to
from portal.feedback.loop_models import Link
from portal.feedback.models import Comment, Item, ItemKind, Status, StatusChange, Vote
from portal.releases.models import Channel, Release, ReleaseState


class Scope(enum.StrEnum):
    """Whose items a list shows: all, the reader's own, their organisation's, or those their contract votes for."""

    ALL = "all"
    MINE = "mine"
    ORGANIZATION = "organisation"
    VOTED = "voted"


class Sort(enum.StrEnum):
    """What a list is sorted by. Sorted by answers, it holds only what has one."""

    CONTRACTS = "contracts"
    NEWEST = "newest"
    ANSWERED = "answered"
    CHANGED = "changed"


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to and sorted by. `beta` is a version: items written about it, or that it brings."""

    search: str = ""
    product_id: int | None = None
    status: Status | None = None
    kind: ItemKind | None = None
    beta: str = ""
    scope: Scope = Scope.ALL
    sort: Sort = Sort.CONTRACTS


@dataclass(frozen=True)
class Row:
    """An item in a list, as the reader sees it. The lapsed are not told how much was said: part of it may be hidden."""

    item: Item
    status: Status
    version: str
    votes: int
    comments: int
    ours: bool


@dataclass(frozen=True)
class Counts:
    """How many items stand where. With `more`, a search found too many for all of them to be counted: there are at least so many."""

    by_status: dict[Status, int]
    more: bool

    @property
    def total(self) -> int:
        return sum(self.by_status.values())


def _found(viewer: Viewer, wanted: Filter) -> search.Found | None:
    products = None if viewer.staff else [*viewer.contracts, *viewer.lapses]
    return search.find(wanted.search, viewer, products if wanted.product_id is None else [wanted.product_id])


def _conditions(viewer: Viewer, wanted: Filter, found: search.Found | None, *, with_status: bool) -> list[sa.ColumnElement[bool]]:
    """The conditions of `wanted`, but for what is searched for: `found` says whether that is few."""
    few = wanted.scope is not Scope.ALL or (found is not None and not found.many)
    conditions = [visible_to(viewer, few=few)]
    if wanted.product_id is not None:
        conditions.append((Item.product_id + 0 if few else Item.product_id) == wanted.product_id)
    if wanted.kind is not None:
        conditions.append(Item.kind == wanted.kind)
    if wanted.scope is Scope.MINE:
        conditions.append(_few(Item.author_id == viewer.person.id))
    elif wanted.scope is Scope.ORGANIZATION:
        conditions.append(_few(Item.organization_id == viewer.organization_id))
    elif wanted.scope is Scope.VOTED:
        conditions.append(votes.with_ours(viewer))
    if wanted.beta:
        conditions.append(_in_beta(viewer, wanted.beta))
    if wanted.sort is Sort.ANSWERED:
        conditions += _answered(viewer)
    if with_status and wanted.status is not None:
        conditions.append(has_status(viewer, wanted.status))
    return conditions


def _few(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """A condition that few items meet, for lists to start from them. By itself SQLite might start from the items of a product."""
    return Item.id.in_(sa.select(Item.id).where(condition).correlate(None))


def betas_of(viewer: Viewer, *, limit: int = 60) -> list[Release]:
    """Return the betas that lists can be narrowed to, newest first: published ones, of products the viewer is entitled to."""
    published = sa.select(Release).where(Release.channel == Channel.BETA, Release.state == ReleaseState.PUBLISHED)
    if not viewer.staff:
        published = published.where(Release.product_id.in_(viewer.contracts))
    return list(db.session.scalars(published.order_by(Release.published_at.desc(), Release.id.desc()).limit(limit)))


def _in_beta(viewer: Viewer, version: str) -> sa.ColumnElement[bool]:
    """Whether an Item has to do with a beta. To the lapsed nothing has."""
    betas = [release.id for release in betas_of(viewer) if release.version == version]
    about, other = aliased(Item), aliased(Item)
    return Item.id.in_(  # one list of numbers: each part has its index, which an OR of them would leave unused
        sa.union_all(
            sa.select(about.id).where(about.release_id.in_(betas)),
            sa.select(other.id).where(other.status_release_id.in_(betas)),
            sa.select(Link.item_id).where(Link.release_id.in_(betas), Link.removed_at.is_(None)),
        )
    )


def _answered(viewer: Viewer) -> list[sa.ColumnElement[bool]]:
    """Whether an Item has an official response that the viewer may read: to the lapsed, none that was given in a beta."""
    conditions: list[sa.ColumnElement[bool]] = [Item.responded_at.is_not(None)]
    if viewer.lapsed:
        at_the_time = sa.select(StatusChange.status).where(StatusChange.item_id == Item.id, StatusChange.at <= Item.responded_at)
        stood = at_the_time.order_by(StatusChange.id.desc()).limit(1).correlate(Item).scalar_subquery()
        hidden = sa.and_(Item.product_id.in_(viewer.lapsed), stood.is_not_distinct_from(Status.IN_BETA))
        conditions.append(sa.not_(hidden))
    return conditions


def sort_keys(sort: Sort, now: datetime) -> list[sa.ColumnElement[Any]]:
    """The columns an item list is sorted by, downwards; the id makes each place unique."""
    first: sa.ColumnElement[Any] = {
        Sort.CONTRACTS: votes.count_of_item(now),
        Sort.NEWEST: sa.type_coerce(Item.created_at, Item.created_at.type),
        Sort.ANSWERED: sa.type_coerce(Item.responded_at, Item.responded_at.type),
        Sort.CHANGED: sa.type_coerce(Item.changed_at, Item.changed_at.type),
    }[sort]
    return [first, sa.type_coerce(Item.id, sa.Integer)]


def comment_count() -> sa.ColumnElement[int]:
    """The number of comments an Item has that are not notes of the staff, as a column."""
    counted = sa.select(sa.func.count()).select_from(Comment).where(Comment.item_id == Item.id, Comment.staff_only.is_(False))
    return counted.correlate(Item).scalar_subquery()


def read(viewer: Viewer, wanted: Filter, place: paging.Place, *, now: datetime) -> tuple[paging.Page, Counts]:
    """Return a page of Rows (what `wanted` describes, as far as the viewer sees it), and how many stand where, whatever its status."""
    found = _found(viewer, wanted)
    return _list(viewer, wanted, found, place, now=now, size=paging.PAGE_SIZE), _count(viewer, wanted, found)


def list_items(viewer: Viewer, wanted: Filter, place: paging.Place, *, now: datetime, size: int = paging.PAGE_SIZE) -> paging.Page:
    """Return a page of Rows: the items visible to the viewer that `wanted` describes."""
    return _list(viewer, wanted, _found(viewer, wanted), place, now=now, size=size)


def _list(viewer: Viewer, wanted: Filter, found: search.Found | None, place: paging.Place, *, now: datetime, size: int) -> paging.Page:
    conditions = _conditions(viewer, wanted, found, with_status=True)
    if found is not None:
        conditions.append(found.condition)
    statement = sa.select(Item, votes.count_of_item(now), comment_count(), votes.is_ours(viewer)).where(*conditions)
    page = paging.fetch(statement, sort_keys(wanted.sort, now), place, size)
    rows = [
        Row(
            item,
            *show_status(viewer, item.product_id, item.status, item.status_version),
            count,
            0 if item.product_id in viewer.lapsed else comments,
            ours,
        )
        for item, count, comments, ours in page.rows
    ]
    return paging.Page(rows, page.newer, page.older)


def _count(viewer: Viewer, wanted: Filter, found: search.Found | None) -> Counts:
    """Count visible items by status, under all filters but that of the status."""
    status = status_shown_to(viewer)
    conditions = _conditions(viewer, wanted, found, with_status=False)
    if found is not None:
        conditions.append(found.sample)
    rows = db.session.execute(sa.select(status, sa.func.count()).select_from(Item).where(*conditions).group_by(status))
    return Counts({Status(value): count for value, count in rows}, more=found is not None and found.many)


def count_our_votes(viewer: Viewer) -> int:
    """Return for how many items the viewer's contract votes."""
    seen = sa.exists().where(Item.id == Vote.item_id, visible_to(viewer)).correlate(Vote)
    ours = sa.select(sa.func.count()).select_from(Vote).where(votes.is_of(viewer), seen)
    return db.session.scalar(ours) or 0
