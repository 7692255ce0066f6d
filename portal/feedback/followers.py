"""Who follows an item: who wrote it, who voted for it, and who pressed the button. A "no" is kept until the person takes it back.

Whoever follows an item that was merged follows the one it was merged into, as long as it is: nothing is moved, so nothing has to
be moved back. What they said about that one itself comes first.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from portal.database import db, insert
from portal.errors import Conflict
from portal.feedback import paging
from portal.feedback.access import Viewer, find_item, show_status, visible_to
from portal.feedback.groups import members_of
from portal.feedback.loop_models import Follow
from portal.feedback.models import Item, Status
from portal.notices.models import Topic
from portal.notices.subscriptions import is_wanted


@dataclass(frozen=True)
class Following:
    """How a reader stands to an item. `mailed` says whether they get mail about feedback of this product at all."""

    follows: bool
    mailed: bool


@dataclass(frozen=True)
class Followed:
    """An item in a reader's list, with the status as they read it."""

    item: Item
    status: Status
    version: str


def start(item_id: int, user_id: int, *, now: datetime) -> None:
    """Let a person follow an item they were never asked about: they wrote it, or voted for it. A choice made before stays."""
    db.session.execute(
        insert(Follow).values(item_id=item_id, user_id=user_id, wanted=True, changed_at=now).on_conflict_do_nothing(
            index_elements=["item_id", "user_id"]
        )
    )  # fmt: skip


def choose(viewer: Viewer, item_id: int, *, wanted: bool, now: datetime) -> None:
    """Store whether the viewer wants to hear of an item. Raises NotFound for one they cannot see, Conflict for staff."""
    item = find_item(viewer, item_id)
    if viewer.staff:
        raise Conflict("Staff read the inbox; following is for subscribers.")
    added = insert(Follow).values(item_id=item.id, user_id=viewer.person.id, wanted=wanted, changed_at=now)
    db.session.execute(
        added.on_conflict_do_update(index_elements=["item_id", "user_id"], set_={"wanted": wanted, "changed_at": now})
    )  # fmt: skip


def of(item_id: int) -> sa.CompoundSelect[int]:
    """Select the ids of the people who follow an item, and of those who follow one that was merged into it."""
    itself = sa.select(Follow.user_id).where(Follow.item_id == item_id)
    merged = sa.select(Follow.user_id).where(
        Follow.item_id.in_(set(members_of(item_id)) - {item_id}), Follow.wanted.is_(True), Follow.user_id.not_in(itself)
    )
    return itself.where(Follow.wanted.is_(True)).union(merged)


def count(item_id: int) -> int:
    """Return how many people follow an item."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(of(item_id).subquery())) or 0


def following(viewer: Viewer, item: Item) -> Following:
    """Return how the viewer stands to an item."""
    follows = db.session.scalar(sa.select(sa.literal(viewer.person.id).in_(of(item.id))))
    return Following(bool(follows), is_wanted(viewer.person.id, item.product_id, Topic.FEEDBACK))


def list_followed(viewer: Viewer, place: paging.Place, *, size: int = paging.PAGE_SIZE) -> paging.Page:
    """Return a page of what the viewer follows and may read, as Followed, what changed last first."""
    mine = sa.select(Follow.item_id).where(Follow.user_id == viewer.person.id)
    said_no = mine.where(Follow.wanted.is_(False))
    up = sa.select(Item.id, Item.merged_into_id).where(Item.id.in_(mine.where(Follow.wanted.is_(True)))).cte("up", recursive=True)
    up = up.union(sa.select(Item.id, Item.merged_into_id).where(Item.id == up.c.merged_into_id))
    wanted = sa.select(up.c.id).where(up.c.merged_into_id.is_(None))
    statement = sa.select(Item).where(Item.id.in_(wanted), Item.id.not_in(said_no), visible_to(viewer))
    keys: list[sa.ColumnElement[object]] = [
        sa.type_coerce(Item.changed_at, Item.changed_at.type), sa.type_coerce(Item.id, sa.Integer)
    ]  # fmt: skip
    page = paging.fetch(statement, keys, place, size)
    rows = [Followed(item, *show_status(viewer, item.product_id, item.status, item.status_version)) for (item,) in page.rows]
    return paging.Page(rows, page.newer, page.older)
