"""The roadmap: what is planned, what is in a beta, and what shipped lately. It is read off the items' statuses; there is no second truth.

Everybody reads their own: it is the board's own list, by status, so items they may not see are not on it, and to the lapsed an item in a
beta is planned, without a version.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.database import db
from portal.feedback import board, votes
from portal.feedback.access import Viewer, show_status, visible_to
from portal.feedback.models import Item, Status, StatusChange
from portal.feedback.paging import Place
from portal.releases.models import Release, ReleaseState

LATELY = timedelta(days=180)
SHOWN = 30


@dataclass(frozen=True)
class Entry:
    """An item on the roadmap, as the reader sees it. `since` is when its status was set, None where the reader is shown another one."""

    item: Item
    version: str
    votes: int
    since: datetime | None


@dataclass(frozen=True)
class Stretch:
    """The items of one status that name the same version. `release` is that one, where the reader may open its page."""

    version: str
    release: Release | None
    entries: list[Entry]


@dataclass(frozen=True)
class Section:
    """A part of the roadmap: its status and the first SHOWN of its items by version. `more` says whether the board has further ones."""

    status: Status
    stretches: list[Stretch]
    more: bool

    @property
    def entries(self) -> int:
        return sum(len(stretch.entries) for stretch in self.stretches)


def read(viewer: Viewer, now: datetime, product_id: int | None = None) -> list[Section]:
    """Return the three sections: planned and in beta by most contracts, shipped by the latest."""
    return [
        _standing(viewer, Status.PLANNED, now, product_id),
        _standing(viewer, Status.IN_BETA, now, product_id),
        _shipped(viewer, now, product_id),
    ]


def _standing(viewer: Viewer, status: Status, now: datetime, product_id: int | None) -> Section:
    page = board.list_items(viewer, board.Filter(status=status, product_id=product_id), Place(), now=now, size=SHOWN)
    since = _since([row.item.id for row in page.rows])
    # To the lapsed, none has a date: one that had none among others would be known to be in a beta.
    entries = [
        Entry(row.item, row.version, row.votes, since.get(row.item.id) if row.item.product_id not in viewer.lapsed else None)
        for row in page.rows
    ]
    return Section(status, _by_version(viewer, entries), more=page.older is not None)


def _since(item_ids: Collection[int]) -> dict[int, datetime]:
    """Return when the status of each item was set last."""
    changes = sa.select(StatusChange.item_id, sa.func.max(StatusChange.at)).where(StatusChange.item_id.in_(item_ids))
    return dict(db.session.execute(changes.group_by(StatusChange.item_id)).all())


def _shipped(viewer: Viewer, now: datetime, product_id: int | None) -> Section:
    later = aliased(StatusChange)
    overtaken = sa.exists().where(later.item_id == StatusChange.item_id, later.id > StatusChange.id).correlate(StatusChange)
    statement = (
        sa.select(Item, votes.count_of_item(now), StatusChange.at)
        .join(StatusChange, StatusChange.item_id == Item.id)
        .where(StatusChange.status == Status.SHIPPED, StatusChange.at >= now - LATELY, sa.not_(overtaken))
        .where(visible_to(viewer), Item.status == Status.SHIPPED)
        .order_by(StatusChange.at.desc(), StatusChange.id.desc())
        .limit(SHOWN + 1)
    )
    if product_id is not None:
        statement = statement.where(Item.product_id == product_id)
    rows = db.session.execute(statement).all()
    entries = [
        Entry(item, show_status(viewer, item.product_id, item.status, item.status_version)[1], voted, at)
        for item, voted, at in rows[:SHOWN]
    ]
    return Section(Status.SHIPPED, _by_version(viewer, entries), more=len(rows) > SHOWN)


def _by_version(viewer: Viewer, entries: Collection[Entry]) -> list[Stretch]:
    releases = _open_releases(viewer, entries)
    stretches: dict[tuple[int, str], Stretch] = {}
    for entry in entries:
        release = releases.get(entry.item.status_release_id or 0) if entry.version else None
        stretch = stretches.setdefault((entry.item.product_id, entry.version), Stretch(entry.version, release, []))
        stretch.entries.append(entry)
    return list(stretches.values())


def _open_releases(viewer: Viewer, entries: Iterable[Entry]) -> dict[int, Release]:
    """The releases that the statuses of these items name, if they are out and the reader may open their pages."""
    named = {entry.item.status_release_id for entry in entries if viewer.staff or entry.item.product_id in viewer.contracts} - {None}
    out = sa.select(Release).where(Release.id.in_(named), Release.state == ReleaseState.PUBLISHED)
    return {release.id: release for release in db.session.scalars(out)}
