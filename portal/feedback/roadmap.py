"""The roadmap: what is planned, what is in a beta, and what shipped lately. It is read off the items' statuses; there is no second truth.

Everybody reads their own: items they may not see are not on it, and to the lapsed an item in a beta is planned, without a version.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.database import db
from portal.feedback import votes
from portal.feedback.access import Viewer, show_status, status_shown_to, visible_to
from portal.feedback.models import Item, Status, StatusChange
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
    """A part of the roadmap: its status, how many items there are, and the first SHOWN of them by version."""

    status: Status
    total: int
    stretches: list[Stretch]

    @property
    def shown(self) -> int:
        return sum(len(stretch.entries) for stretch in self.stretches)


def read(viewer: Viewer, now: datetime, product_id: int | None = None) -> list[Section]:
    """Return the three sections: planned and in beta by most contracts, shipped by the latest."""
    return [_section(viewer, status, now, product_id) for status in (Status.PLANNED, Status.IN_BETA, Status.SHIPPED)]


def _section(viewer: Viewer, status: Status, now: datetime, product_id: int | None) -> Section:
    conditions = [visible_to(viewer), status_shown_to(viewer) == status]
    if product_id is not None:
        conditions.append(Item.product_id == product_id)
    since = _since()
    if status is Status.SHIPPED:
        conditions.append(since >= now - LATELY)
    count = votes.count_of_item(now)
    order: list[sa.ColumnElement[Any]] = [since.desc()] if status is Status.SHIPPED else [count.desc()]
    rows = db.session.execute(
        sa.select(Item, count, since, sa.func.count().over())
        .where(*conditions)
        .options(joinedload(Item.status_release))
        .order_by(*order, Item.id.desc())
        .limit(SHOWN)
    ).all()
    stretches: dict[tuple[int, str], Stretch] = {}
    for item, voted, at, _ in rows:
        shown, version = show_status(viewer, item.product_id, item.status, item.status_version)
        stretch = stretches.setdefault((item.product_id, version), Stretch(version, _open_to(viewer, item, version), []))
        stretch.entries.append(Entry(item, version, voted, at if shown is item.status else None))
    return Section(status, rows[0][3] if rows else 0, list(stretches.values()))


def _since() -> sa.ScalarSelect[datetime]:
    """When the status of an Item was set last."""
    return sa.select(sa.func.max(StatusChange.at)).where(StatusChange.item_id == Item.id).correlate(Item).scalar_subquery()


def _open_to(viewer: Viewer, item: Item, version: str) -> Release | None:
    """The release that the item's status names, if it is out and the reader may open its page."""
    release = item.status_release
    may = viewer.staff or item.product_id in viewer.contracts
    return release if may and version and release is not None and release.state is ReleaseState.PUBLISHED else None
