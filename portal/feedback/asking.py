"""Asking those who wanted something whether a beta solves it: one mail per person, item and beta, whoever links how often.

An item that is linked to a published beta is asked about at once; one that is linked to a draft, when that is published. Who gets
the notice of the beta then is asked in it (`asked_for`), and not by a second mail.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.account.entitlements import Benefit, entitled
from portal.account.models import User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.feedback.askers import asked_for
from portal.feedback.groups import members_of
from portal.feedback.loop_models import Follow, Link, Verdict
from portal.feedback.models import Item, Visibility
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Delivery, Notice, Topic
from portal.releases.models import Channel, Release, ReleaseState
from portal.web.formatting import kind_version, long_date

VERDICT = "feedback_verdict"

NOT_OUT = "beta withdrawn or not out"
EXPIRED = "beta no longer runs"
NOT_ENTITLED = "not entitled"
NOTHING_ASKED = "asked for nothing in it any more"


def is_open(release: Release, now: datetime) -> bool:
    """Whether somebody can say of a release what it solves: a beta that is out and runs."""
    return _obstacle(release, now) is None


def _obstacle(release: Release, now: datetime) -> str | None:
    if release.channel is not Channel.BETA or release.state is not ReleaseState.PUBLISHED:
        return NOT_OUT
    over = release.expires_on is not None and release.expires_on < civil_date(now, current_settings().default_time_zone)
    return EXPIRED if over else None


def ask(release: Release, links: Sequence[Link], *, told_by: Notice | None = None, actor: User | None, now: datetime) -> Notice | None:
    """Ask for verdicts on what is linked to a beta, of all who asked for it, but for those who are asked by the notice `told_by`.

    Return the mail's notice; None if the beta is not open, or nobody is left to ask.
    """
    new = [link for link in links if link.asked_at is None]
    if not new or not is_open(release, now):
        return None
    for link in new:
        link.asked_at = now
    roots = sorted({_root(link.item) for link in new}, key=lambda item: item.id)
    audience = _audience(release, [item.id for item in roots], told_by, now)
    if not db.session.scalar(sa.select(audience.exists())):
        return None
    title = roots[0].title if len(roots) == 1 else f"{release.product.name} {release.version}"
    return outbox.enqueue(
        VERDICT,
        audience,
        context={"release_id": release.id, "item_ids": [item.id for item in roots], "title": title},
        topic=Topic.FEEDBACK,
        product_id=release.product_id,
        now=now,
        created_by_id=actor.id if actor else None,
    )


def _root(item: Item) -> Item:
    while item.merged_into_id is not None:
        item = db.session.get_one(Item, item.merged_into_id)
    return item


def _audience(release: Release, item_ids: Collection[int], told_by: Notice | None, now: datetime) -> outbox.Audience:
    asked = sa.select(User.id, User.email, User.name).where(
        User.id.in_(entitled(Benefit.BETAS, release.product_id, now)),
        sa.exists().where(Item.id.in_(item_ids), *_wants_to_say(now)).correlate(User),
    )
    if told_by is None:
        return asked
    return asked.where(User.id.not_in(sa.select(Delivery.user_id).where(Delivery.notice_id == told_by.id)))


def _wants_to_say(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions on an Item and a User that this person is asked about it: they asked for it, read it, and did not turn away."""
    other = aliased(Follow)
    turned_away = sa.exists().where(other.item_id == Item.id, other.user_id == User.id, other.wanted.is_(False)).correlate(Item, User)
    reads = sa.or_(Item.visibility == Visibility.SUBSCRIBERS, Item.organization_id == User.organization_id)
    return asked_for(now), reads, sa.not_(turned_away)


def items_to_ask(release: Release, item_ids: Collection[int], user_ids: Collection[int], now: datetime) -> Mapping[int, list[Item]]:
    """Return, by user id, which of these items each person is asked about: still linked, still asked for, and not answered yet."""
    linked = sa.select(Link.item_id).where(Link.release_id == release.id, Link.removed_at.is_(None))
    live = set(db.session.scalars(linked))
    open_ids = {item_id for item_id in item_ids if live.intersection(members_of(item_id))}
    answered = sa.exists().where(
        Verdict.item_id == Item.id, Verdict.user_id == User.id, Verdict.release_id == release.id, Verdict.created_at <= now
    )
    rows = db.session.execute(
        sa.select(User.id, Item)
        .join(Item, Item.id.in_(open_ids))
        .where(User.id.in_(user_ids), *_wants_to_say(now), sa.not_(answered.correlate(Item, User)))
        .order_by(Item.id)
    )
    found: dict[int, list[Item]] = {}
    for user_id, item in rows:
        found.setdefault(user_id, []).append(item)
    return found


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go out about a beta that is withdrawn or has run out, to the not entitled, or to who asks for nothing in it now."""
    release = _release_of(notice)
    obstacle = _obstacle(release, now)
    if obstacle is not None:
        return {delivery.id: obstacle for delivery in deliveries}
    people = [delivery.user_id for delivery in deliveries]
    still = set(db.session.scalars(entitled(Benefit.BETAS, release.product_id, now, among=people)))
    asked = items_to_ask(release, notice.context["item_ids"], people, now)
    return {
        delivery.id: NOTHING_ASKED if delivery.user_id in still else NOT_ENTITLED
        for delivery in deliveries
        if delivery.user_id not in still or delivery.user_id not in asked
    }


def shared(notice: Notice) -> Mapping[str, Any]:
    release = _release_of(notice)
    return {
        "version": release.version,
        "version_text": kind_version(release.version),
        "what_to_test": release.what_to_test,
        "expires_on": long_date(release.expires_on) if release.expires_on else None,
        "release_path": release.path,
    }


def personal(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """Return what one person is asked about."""
    release = _release_of(notice)
    items = items_to_ask(release, notice.context["item_ids"], [delivery.user_id], now).get(delivery.user_id, [])
    return {"items": [{"title": item.title, "label": f"{item.kind.value} {item.id}", "path": f"/feedback/{item.id}/"} for item in items]}


def _release_of(notice: Notice) -> Release:
    return db.session.get_one(Release, notice.context["release_id"])


def _staff_path(notice: Notice) -> str:
    release = _release_of(notice)
    return f"/staff/releases/{release.product.slug}/{release.version}/adoption/"


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(
        Kind(VERDICT, label="Does a beta solve it?", check=check, shared=shared, personal=personal, to_many=True, staff_path=_staff_path)
    )
