"""The board: what subscribers write, find, read and comment on."""

import enum
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.account.models import User
from portal.database import db
from portal.errors import Invalid
from portal.feedback import announcements, paging, votes
from portal.feedback.access import LARGEST_ID, Viewer, beta_times, find_item, show_status, status_shown_to, visible_to
from portal.feedback.models import Comment, Item, ItemKind, Severity, Status, StatusChange, Visibility, Vote
from portal.products.models import Product
from portal.releases.models import Release, ReleaseState
from portal.text import clean_line, clean_text

TITLE_LIMIT = 160
BODY_LIMIT = 20_000
COMMENT_LIMIT = 10_000
COMMENTS_SHOWN = 50
SEARCH_LIMIT = 200
SEARCH_WORDS = 8


class Scope(enum.StrEnum):
    """Whose items a list shows: all, the reader's own, their organisation's, or those their contract votes for."""

    ALL = "all"
    MINE = "mine"
    ORGANIZATION = "organisation"
    VOTED = "voted"


class Sort(enum.StrEnum):
    CONTRACTS = "contracts"
    NEWEST = "newest"
    CHANGED = "changed"


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to and sorted by."""

    search: str = ""
    product_id: int | None = None
    status: Status | None = None
    kind: ItemKind | None = None
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
class Step:
    """A step of an item's path as the reader sees it. `reason` says why, where the vendor gave one."""

    status: Status
    version: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Reading:
    """An item's page: everything the reader may see of it."""

    item: Item
    status: Status
    version: str
    response: str
    votes: int
    ours: bool
    our_votes: list[Vote]
    steps: list[Step]
    comments: list[Comment]
    comment_count: int
    earlier_comments: int | None
    may_write: bool
    left_out: bool


def write(
    viewer: Viewer,
    *,
    product: Product,
    kind: ItemKind,
    title: str,
    body: str,
    visibility: Visibility,
    severity: Severity | None = None,
    version: str = "",
    now: datetime,
) -> Item:
    """Add an item in the name of the viewer's contract, which votes for it from the start.

    `version` names a published release of the product, "" none. A severity is kept for problems alone, and needed there.
    Raises Conflict for those who only read; Invalid(field) for text that is missing or too long, or an unknown version.
    """
    contract_id = viewer.voting_contract(product.id)
    title = clean_line(title, "title", TITLE_LIMIT)
    body = clean_text(body, "body", BODY_LIMIT)
    if kind is ItemKind.PROBLEM and severity is None:
        raise Invalid("Say how much the problem disturbs your work.", "severity")
    item = Item(
        product_id=product.id,
        release_id=_find_version(product, version).id if version else None,
        kind=kind,
        severity=severity if kind is ItemKind.PROBLEM else None,
        visibility=visibility,
        title=title,
        body=body,
        author_id=viewer.person.id,
        contract_id=contract_id,
        organization_id=viewer.organization_id,
        created_at=now,
        changed_at=now,
    )
    db.session.add(item)
    db.session.flush()
    votes.add(item.id, contract_id, viewer.person.id, now=now)
    return item


def _find_version(product: Product, version: str) -> Release:
    release = db.session.scalar(
        sa.select(Release).where(
            Release.product_id == product.id, Release.version == version[:60].replace("\0", ""), Release.state == ReleaseState.PUBLISHED
        )
    )
    if release is None:
        raise Invalid(f"{product.name} has no published version {version[:60]}. Choose one from the list, or none.", "version")
    return release


def versions_to_write_about(product_ids: Collection[int], *, limit: int = 60) -> list[Release]:
    """Return the releases of the products that were published last, newest first, at most `limit`."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(Release.product_id.in_(product_ids), Release.state == ReleaseState.PUBLISHED)
            .order_by(Release.published_at.desc(), Release.id.desc())
            .limit(limit)
        )
    )


def comment(viewer: Viewer, item_id: int, body: str, *, now: datetime) -> Comment:
    """Add a comment in the name of the viewer's organisation, tell the author, and put the item back into the inbox.

    Raises NotFound for an item the viewer cannot see, Conflict for those who only read, Invalid for the text.
    """
    item = find_item(viewer, item_id)
    viewer.voting_contract(item.product_id)
    written = Comment(
        item_id=item.id,
        author_id=viewer.person.id,
        organization_id=viewer.organization_id,
        body=clean_text(body, "body", COMMENT_LIMIT),
        created_at=now,
    )
    db.session.add(written)
    db.session.flush()
    item.read_at = None
    announcements.announce_comment(item, written, now=now)
    return written


def matches(search: str) -> list[sa.ColumnElement[bool]]:
    """Conditions on an Item for a search: each word stands in its title or body. Wildcards in it are letters."""
    words = search.replace("\0", " ")[:SEARCH_LIMIT].split()[:SEARCH_WORDS]
    return [sa.or_(Item.title.icontains(word, autoescape=True), Item.body.icontains(word, autoescape=True)) for word in words]


def _conditions(viewer: Viewer, wanted: Filter, *, with_status: bool) -> list[sa.ColumnElement[bool]]:
    conditions = [visible_to(viewer), *matches(wanted.search)]
    if wanted.product_id is not None:
        conditions.append(Item.product_id == wanted.product_id)
    if wanted.kind is not None:
        conditions.append(Item.kind == wanted.kind)
    if wanted.scope is Scope.MINE:
        conditions.append(Item.author_id == viewer.person.id)
    elif wanted.scope is Scope.ORGANIZATION:
        conditions.append(Item.organization_id == viewer.organization_id)
    elif wanted.scope is Scope.VOTED:
        conditions.append(votes.is_ours(viewer))
    if with_status and wanted.status is not None:
        conditions.append(status_shown_to(viewer) == wanted.status)
    return conditions


def sort_keys(sort: Sort, now: datetime) -> list[sa.ColumnElement[Any]]:
    """The columns an item list is sorted by, downwards; the id makes each place unique."""
    first: sa.ColumnElement[Any] = {
        Sort.CONTRACTS: votes.count_of_item(now),
        Sort.NEWEST: sa.type_coerce(Item.created_at, Item.created_at.type),
        Sort.CHANGED: sa.type_coerce(Item.changed_at, Item.changed_at.type),
    }[sort]
    return [first, sa.type_coerce(Item.id, sa.Integer)]


def comment_count() -> sa.ColumnElement[int]:
    """The number of comments an Item has that are not notes of the staff, as a column."""
    counted = sa.select(sa.func.count()).select_from(Comment).where(Comment.item_id == Item.id, Comment.staff_only.is_(False))
    return counted.correlate(Item).scalar_subquery()


def list_items(viewer: Viewer, wanted: Filter, place: paging.Place, *, now: datetime, size: int = paging.PAGE_SIZE) -> paging.Page:
    """Return a page of Rows: the items visible to the viewer that `wanted` describes."""
    statement = sa.select(Item, votes.count_of_item(now), comment_count(), votes.is_ours(viewer)).where(
        *_conditions(viewer, wanted, with_status=True)
    )
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


def count_by_status(viewer: Viewer, wanted: Filter) -> dict[Status, int]:
    """Return how many visible items stand where, under all filters but that of the status."""
    status = status_shown_to(viewer)
    rows = db.session.execute(
        sa.select(status, sa.func.count()).select_from(Item).where(*_conditions(viewer, wanted, with_status=False)).group_by(status)
    )
    return {Status(value): count for value, count in rows}


def count_our_votes(viewer: Viewer) -> int:
    """Return for how many items the viewer's contract votes."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(Item).where(visible_to(viewer), votes.is_ours(viewer))) or 0


def read(viewer: Viewer, item_id: int, *, now: datetime, comments_before: int | None = None) -> Reading:
    """Return an item's page, newest comments first. Raises NotFound for an item the viewer cannot see."""
    item = find_item(viewer, item_id)
    count, comment_total, ours = db.session.execute(
        sa.select(votes.count_of_item(now), comment_count(), votes.is_ours(viewer)).select_from(Item).where(Item.id == item.id)
    ).one()
    changes = list_changes(item.id)
    hidden = beta_times(changes) if item.product_id in viewer.lapsed else []
    comments = _comments(item.id, hidden, comments_before)
    status, version = show_status(viewer, item.product_id, item.status, item.status_version)
    return Reading(
        item=item,
        status=status,
        version=version,
        response="" if item.responded_at is not None and _within(item.responded_at, hidden) else item.response,
        votes=count,
        ours=ours,
        our_votes=[] if viewer.staff else votes.of_organization(viewer, item.id),
        steps=_steps(viewer, item, changes),
        comments=comments[:COMMENTS_SHOWN],
        comment_count=comment_total,
        earlier_comments=comments[COMMENTS_SHOWN - 1].id if len(comments) > COMMENTS_SHOWN else None,
        may_write=item.product_id in viewer.contracts,
        left_out=bool(hidden),
    )


def list_changes(item_id: int) -> list[StatusChange]:
    """Return the steps of an item's path, oldest first."""
    return list(db.session.scalars(sa.select(StatusChange).where(StatusChange.item_id == item_id).order_by(StatusChange.id)))


def _comments(item_id: int, hidden: list[tuple[datetime, datetime | None]], before: int | None) -> list[Comment]:
    statement = sa.select(Comment).where(Comment.item_id == item_id, Comment.staff_only.is_(False))
    for since, until in hidden:
        outside = Comment.created_at < since
        statement = statement.where(outside if until is None else sa.or_(outside, Comment.created_at >= until))
    if before is not None and 0 < before <= LARGEST_ID:
        statement = statement.where(Comment.id < before)
    statement = statement.options(joinedload(Comment.author).selectinload(User.roles), joinedload(Comment.organization))
    return list(db.session.scalars(statement.order_by(Comment.id.desc()).limit(COMMENTS_SHOWN + 1)))


def _within(instant: datetime, stretches: list[tuple[datetime, datetime | None]]) -> bool:
    return any(since <= instant and (until is None or instant < until) for since, until in stretches)


def _steps(viewer: Viewer, item: Item, changes: list[StatusChange]) -> list[Step]:
    """The path as the viewer reads it; what a lapsed reader may not know leaves no step that says nothing new."""
    steps: list[Step] = []
    for change in changes:
        status, version = show_status(viewer, item.product_id, change.status, change.version)
        as_it_was = (status, version) == (change.status, change.version)
        if not as_it_was and steps and steps[-1].status is status:
            continue
        steps.append(Step(status, version, change.reason if as_it_was else "", change.at))
    return steps
