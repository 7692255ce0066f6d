"""What a release does to the items linked to it: published, they are in a beta or shipped; withdrawn, they go back to where they were.

All of it in the transaction of the act (`portal.releases.followups`).
"""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.account.models import User
from portal.database import db, locked
from portal.feedback import announcements, asking
from portal.feedback.groups import members_of, root_of
from portal.feedback.loop_models import Link
from portal.feedback.models import Item, Status, StatusChange
from portal.notices.models import Notice
from portal.notices.outbox import run_update
from portal.releases.models import Channel, Release, ReleaseState

# What is said of an item whose release was withdrawn. Of a beta nothing: the reason stands where the lapsed read it too.
WITHDRAWN = "{version}, in which it shipped, was withdrawn."


def release_published(release: Release, notice: Notice, actor: User | None, now: datetime) -> None:
    """Mark what is linked to a release that is being published, tell of it, and ask for verdicts on a beta."""
    links = live_links(release.id)
    asking.ask(release, links, told_by=notice, actor=actor, now=now)
    for item in lock_items([link.item_id for link in links]):
        mark(item, release, told_by=notice, actor=actor, now=now)


def live_links(release_id: int) -> list[Link]:
    """Return what is linked to a release, by item."""
    return list(
        db.session.scalars(
            sa.select(Link)
            .where(Link.release_id == release_id, Link.removed_at.is_(None))
            .options(joinedload(Link.item))
            .order_by(Link.item_id)
        )
    )  # fmt: skip


def lock_items(item_ids: Sequence[int]) -> list[Item]:
    """Return the items that stand for these, each once and locked, in the order of their ids: so no two such locks wait in a circle.

    Whether they still stand is asked again under the lock: somebody may have merged or told apart while it was waited for. Then all
    are let go before others are locked, which keeps that order.
    """

    def take() -> list[Item] | None:
        roots = {root_of(item_id) for item_id in item_ids}
        statement = sa.select(Item).where(Item.id.in_(roots)).order_by(Item.id).with_for_update(of=Item)
        items = list(db.session.scalars(statement.execution_options(populate_existing=True)))
        return items if {root_of(item_id) for item_id in item_ids} == roots else None

    return locked(take)


def status_in(release: Release) -> Status:
    """What an item becomes by a release that brings it."""
    return Status.IN_BETA if release.channel is Channel.BETA else Status.SHIPPED


def mark(item: Item, release: Release, *, told_by: Notice | None = None, actor: User | None, now: datetime) -> bool:
    """Set an item's status to the release that brings it. Declined ones stay so, and what has shipped stays where it first did."""
    if item.status in (Status.DECLINED, Status.SHIPPED):
        return False
    _move(item, status_in(release), release.version, release, "", told_by=told_by, actor=actor, now=now)
    return True


def release_withdrawn(release: Release, actor: User | None, now: datetime) -> None:
    """Take back what a withdrawn release did. Its links stay, as what it once brought; nobody is asked about it any more."""
    in_it = sa.select(Item.id).where(Item.status_release_id == release.id, Item.status == status_in(release))
    for item in lock_items(list(db.session.scalars(in_it))):
        if item.status_release_id == release.id:
            why = WITHDRAWN.format(version=release.version) if release.channel is Channel.STABLE else ""
            take_back(item, release, why, actor=actor, now=now)


def hold_release(item_id: int) -> None:
    """Hold the release that gave an item its status: before the item, as withdrawing does."""
    named = sa.select(Item.status_release_id).where(Item.id == item_id).scalar_subquery()
    db.session.execute(sa.select(Release.id).where(Release.id == named).with_for_update(read=True, of=Release))


def part(item: Item, target: Item, *, actor: User | None, now: datetime) -> None:
    """Let two items that were one each stand where their own links put them."""
    release = target.status_release
    if release is None or target.status is not status_in(release):
        return
    linked = set(db.session.scalars(sa.select(Link.item_id).where(Link.release_id == release.id, Link.removed_at.is_(None))))
    if linked.isdisjoint(members_of(item.id)) or not linked.isdisjoint(members_of(target.id)):
        return
    take_back(target, release, "", actor=actor, now=now)
    mark(item, release, actor=actor, now=now)


def take_back(item: Item, release: Release, reason: str, *, actor: User | None, now: datetime) -> None:
    """Let an item stand where it stood before a release: in the newest other beta that brings it, else as was said last, else planned."""
    beta = db.session.scalar(
        sa.select(Release)
        .join(Link, Link.release_id == Release.id)
        .where(
            Link.item_id.in_(members_of(item.id)), Link.removed_at.is_(None), Release.id != release.id,
            Release.channel == Channel.BETA, Release.state == ReleaseState.PUBLISHED,
        )
        .order_by(Release.version_key.desc())
        .limit(1)
    )  # fmt: skip
    if beta is not None:
        _move(item, Status.IN_BETA, beta.version, beta, reason, beta=True, actor=actor, now=now)
        return
    steps = db.session.scalars(sa.select(StatusChange).where(StatusChange.item_id == item.id).order_by(StatusChange.id.desc()))
    before = next((step for step in steps if step.status in (Status.PLANNED, Status.UNDER_REVIEW)), None)
    status, version = (before.status, before.version) if before else (Status.PLANNED, "")
    _move(item, status, version, None, reason, beta=release.channel is Channel.BETA, actor=actor, now=now)


def _move(
    item: Item,
    status: Status,
    version: str,
    release: Release | None,
    reason: str,
    *,
    told_by: Notice | None = None,
    beta: bool = False,
    actor: User | None,
    now: datetime,
) -> None:
    before = {"status": item.status, "version": item.status_version}
    if (item.status, item.status_version) == (status, version) and item.status_release_id == (release.id if release else None):
        return
    item.status, item.status_version, item.status_release = status, version, release
    item.revision += 1
    item.changed_at = now
    db.session.add(StatusChange(item_id=item.id, status=status, version=version, reason=reason, at=now, by_id=actor.id if actor else None))
    db.session.flush()
    audit.record(
        "feedback.moved", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        before=before, after={"status": status, "version": version, "reason": reason},
    )  # fmt: skip
    announcements.announce_update(
        item, status_changed=True, response_changed=False, reason=reason, actor=actor, now=now, told_by=told_by, beta=beta
    )


def release_discarded(release_id: int) -> None:
    """Forget what was linked to a draft that goes for good: nobody outside has seen it."""
    run_update(sa.delete(Link).where(Link.release_id == release_id))
