"""One item's page, as its reader may see it."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.account.models import User
from portal.database import db
from portal.feedback import merging, votes
from portal.feedback.access import LARGEST_ID, Viewer, beta_times, find_item, show_status
from portal.feedback.board import comment_count
from portal.feedback.groups import root_of
from portal.feedback.models import Comment, Item, Status, StatusChange, Vote

COMMENTS_SHOWN = 50

Stretches = list[tuple[datetime, datetime | None]]


@dataclass(frozen=True)
class Step:
    """A step of an item's path as the reader sees it. `reason` says why, where the vendor gave one."""

    status: Status
    version: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Reading:
    """An item's page: everything the reader may see of it, and of what was merged into it."""

    item: Item
    merged: list[merging.Merged]
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

    @property
    def names(self) -> dict[int, str]:
        """What to call each merged item within a sentence."""
        return {one.item.id: f"{one.item.kind.value} {one.item.id}" for one in self.merged}


def read(viewer: Viewer, item_id: int, *, now: datetime, comments_before: int | None = None) -> Reading:
    """Return an item's page, newest comments first. Raises NotFound for an item the viewer cannot see."""
    item = find_item(viewer, item_id)
    count, comment_total, ours = db.session.execute(
        sa.select(votes.count_of_item(now), comment_count(), votes.is_ours(viewer)).select_from(Item).where(Item.id == item.id)
    ).one()
    changes = list_changes(item.id)
    hidden = _hidden(item, changes) if item.product_id in viewer.lapsed else []
    merged = merging.merged_into(item.id, viewer)
    unheard = {item.id: hidden, **_hidden_of_merged(viewer, item, merged, hidden)}
    comments = _comments(unheard, comments_before)
    if merged:
        comment_total = db.session.scalar(sa.select(sa.func.count()).select_from(Comment).where(*_shown({one: [] for one in unheard}))) or 0
    status, version = show_status(viewer, item.product_id, item.status, item.status_version)
    return Reading(
        item=item,
        merged=merged,
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


def shows_comment(viewer: Viewer, item: Item, comment_id: int) -> bool:
    """Whether a comment is among those of the item that the viewer reads on its page."""
    hidden = _hidden(item, list_changes(item.id)) if item.product_id in viewer.lapsed else []
    shown = sa.select(Comment.id).where(Comment.id == comment_id, *_shown({item.id: hidden}))
    return db.session.scalar(shown) is not None


def list_changes(item_id: int) -> list[StatusChange]:
    """Return the steps of an item's path, oldest first."""
    return list(db.session.scalars(sa.select(StatusChange).where(StatusChange.item_id == item_id).order_by(StatusChange.id)))


def _hidden(item: Item, changes: list[StatusChange]) -> Stretches:
    """The stretches in which an item, or the one that it is merged into, was in a beta."""
    root = root_of(item.id)
    return beta_times(changes) + (beta_times(list_changes(root)) if root != item.id else [])


def _hidden_of_merged(viewer: Viewer, item: Item, merged: list[merging.Merged], hidden: Stretches) -> dict[int, Stretches]:
    """The stretches of each merged item that are kept from the viewer: those of its own path, and those of the item it is now part of,
    for somebody who had its page open may have said something there after the merge."""
    ids = [one.item.id for one in merged]
    if not ids or item.product_id not in viewer.lapsed:
        return {item_id: [] for item_id in ids}
    changes = db.session.scalars(sa.select(StatusChange).where(StatusChange.item_id.in_(ids)).order_by(StatusChange.id)).all()
    return {item_id: [*beta_times([change for change in changes if change.item_id == item_id]), *hidden] for item_id in ids}


def _comments(unheard: dict[int, Stretches], before: int | None) -> list[Comment]:
    statement = sa.select(Comment).where(*_shown(unheard))
    if before is not None and 0 < before <= LARGEST_ID:
        statement = statement.where(Comment.id < before)
    statement = statement.options(joinedload(Comment.author).selectinload(User.roles), joinedload(Comment.organization))
    return list(db.session.scalars(statement.order_by(Comment.id.desc()).limit(COMMENTS_SHOWN + 1)))


def _shown(unheard: dict[int, Stretches]) -> list[sa.ColumnElement[bool]]:
    """Whether a Comment stands on the page of these items: no note of the staff, and not said in a stretch that is hidden."""
    conditions: list[sa.ColumnElement[bool]] = [Comment.item_id.in_(list(unheard)), Comment.staff_only.is_(False)]
    for item_id, stretches in unheard.items():
        for since, until in stretches:
            elsewhere, outside = Comment.item_id != item_id, Comment.created_at < since
            conditions.append(sa.or_(elsewhere, outside) if until is None else sa.or_(elsewhere, outside, Comment.created_at >= until))
    return conditions


def _within(instant: datetime, stretches: Stretches) -> bool:
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
