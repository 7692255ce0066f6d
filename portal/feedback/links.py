"""Which releases bring an item: betas to be tested, and stable releases, also such as are still drafts.

A link to a beta that is out moves the item there and asks for verdicts at once; a link to a draft does so when that is published
(`shipping`). What readers are shown is published, and betas are shown to the entitled alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager, joinedload

from portal import audit
from portal.account.models import User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import asking, shipping, votes
from portal.feedback.access import LARGEST_ID, Viewer
from portal.feedback.groups import members_of, roots
from portal.feedback.loop_models import Link
from portal.feedback.models import Item, Status
from portal.notices.models import Notice
from portal.releases.drafts import lock_release
from portal.releases.models import Channel, Release, ReleaseState

RELEASES_OFFERED = 60
MOST_LISTED = 500


@dataclass(frozen=True)
class Linked:
    """An item that a release brings, with the number of contracts that vote for it."""

    item: Item
    votes: int


def link(item_id: int, release_id: int, *, actor: User, now: datetime) -> bool:
    """Link an item to a release of its product; return whether it was not linked before.

    Raises NotFound; Invalid(release) for a release of another product, or one that was withdrawn; Conflict for what is declined.
    """
    release = _release(release_id)  # before the item, as publishing does: it either finds the link, or we find it published
    item = _item(item_id)
    if release.product_id != item.product_id:
        raise Invalid(f"{release.product.name} {release.version} is a release of another product.", "release")
    if release.state is ReleaseState.WITHDRAWN:
        raise Invalid(f"{release.version} was withdrawn. Choose another release.", "release")
    if item.status is Status.DECLINED:
        raise Conflict(f"{item.kind.value.capitalize()} {item.id} is not planned. Change its status first, then link it.")
    made = _add(item, release, actor, now)
    if made is None:
        return False
    audit.record(
        "feedback.linked", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        release=release.id, version=release.version,
    )  # fmt: skip
    if release.state is ReleaseState.PUBLISHED:
        told_by = asking.ask(release, [made], actor=actor, now=now)
        shipping.mark(item, release, told_by=told_by, actor=actor, now=now)
    return True


def follow_status(item: Item, release: Release, *, actor: User, now: datetime) -> Notice | None:
    """Link an item to the published release that its status has just been set to. Return the mail that asks about it, if one does."""
    made = _add(item, release, actor, now)
    return asking.ask(release, [made], actor=actor, now=now) if made else None


def _add(item: Item, release: Release, actor: User, now: datetime) -> Link | None:
    """Add a link, or bring one back; None if there is one."""
    found = db.session.scalar(sa.select(Link).where(Link.item_id == item.id, Link.release_id == release.id).with_for_update())
    if found is None:
        found = Link(item_id=item.id, release_id=release.id, created_at=now, created_by_id=actor.id)
        db.session.add(found)
    elif found.removed_at is not None:
        found.removed_at, found.created_at, found.created_by_id = None, now, actor.id
    else:
        return None
    db.session.flush()
    return found


def unlink(item_id: int, release_id: int, *, actor: User, now: datetime) -> None:
    """Take a link back, and the status with it where the release had given it. Raises NotFound if there is no such link."""
    _release(release_id)  # before the item, as in `link`: what is being published either finds the link or does not
    item = _item(item_id)
    found = db.session.scalars(
        sa.select(Link)
        .where(Link.item_id.in_(members_of(item.id)), Link.release_id == release_id, Link.removed_at.is_(None))
        .options(joinedload(Link.release))
    ).all()
    if not found:
        raise NotFound("These two are not linked.")
    for one in found:
        one.removed_at = now
    db.session.flush()
    release = found[0].release
    audit.record(
        "feedback.unlinked", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        release=release.id, version=release.version,
    )  # fmt: skip
    if item.status_release_id == release.id and item.status is shipping.status_in(release):
        shipping.take_back(item, release, "", actor=actor, now=now)


def of_item(item: Item, viewer: Viewer | None = None) -> list[Release]:
    """Return the releases that bring an item, newest version first.

    With `viewer`, only what they may see: what is published, and betas for those entitled to the product alone.
    """
    statement = (
        sa.select(Release)
        .where(Release.id.in_(sa.select(Link.release_id).where(Link.item_id.in_(members_of(item.id)), Link.removed_at.is_(None))))
        .order_by(Release.version_key.desc())
    )
    if viewer is not None:
        statement = statement.where(Release.state == ReleaseState.PUBLISHED)
        if not viewer.staff and item.product_id not in viewer.contracts:
            statement = statement.where(Release.channel == Channel.STABLE)
    return list(db.session.scalars(statement))


def releases_to_link(item: Item) -> list[Release]:
    """Return what an item can still be linked to, newest version first: drafts too, for staff alone see them here."""
    linked = sa.select(Link.release_id).where(Link.item_id.in_(members_of(item.id)), Link.removed_at.is_(None))
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(Release.product_id == item.product_id, Release.state != ReleaseState.WITHDRAWN, Release.id.not_in(linked))
            .order_by(Release.version_key.desc())
            .limit(RELEASES_OFFERED)
        )
    )


def roots_of(release_id: int) -> sa.Select[int]:
    """Select the ids of the items that stand for what is linked to a release."""
    linked = sa.select(Link.item_id).where(Link.release_id == release_id, Link.removed_at.is_(None))
    standing = roots(linked).subquery()
    return sa.select(standing.c.id)


def of_release(release: Release, now: datetime) -> Sequence[Linked]:
    """Return what is linked to a release, by the item that stands for it, most votes first."""
    counted = votes.count_of_item(now).label("counted")
    rows = db.session.execute(
        sa.select(Item, counted)
        .join(Item.product)
        .options(contains_eager(Item.product))
        .where(Item.id.in_(roots_of(release.id)))
        .order_by(counted.desc(), Item.id)
        .limit(MOST_LISTED)
    )
    return [Linked(item, count) for item, count in rows]


def _item(item_id: int) -> Item:
    """The item that stands for this one, locked."""
    found = shipping.lock_items([item_id]) if 0 < item_id <= LARGEST_ID else []
    if not found:
        raise NotFound(f"There is no feedback with the number {item_id}.")
    return found[0]


def _release(release_id: int) -> Release:
    """A release, locked. Raises NotFound."""
    if not 0 < release_id <= LARGEST_ID:
        raise NotFound("There is no such release.")
    return lock_release(release_id)
