"""Reminding organisations that were told of a beta and never tried it: one mail a week at most, whatever the beta."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal import audit
from portal.account.circles import contacts
from portal.account.entitlements import Benefit, entitled
from portal.account.models import Organization, User
from portal.beta.adoption import Adoption, Group, adoption_of
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.errors import Conflict
from portal.notices import audiences, outbox
from portal.notices.audiences import Circle, Person
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice, Topic
from portal.releases.catalog import newest_stable
from portal.releases.models import Build, Channel, Download, Nudge, Release, ReleaseState
from portal.web.formatting import kind_version, long_date

NUDGE = "beta_nudge"
REST = timedelta(days=7)
# How many organisations a page offers at a time, and how many of their contacts it lists: room for ten contracts each.
MOST_OFFERED = 100
MOST_LISTED = 2_000

NOT_ENTITLED = "not entitled"
NOT_OFFERED = "beta no longer offered"
TRIED_SINCE = "tried it since"


def obstacle(release: Release, now: datetime) -> str | None:
    """Say why nobody can be nudged to try a release, None if somebody can."""
    if release.channel is not Channel.BETA:
        return "Only betas are nudged about."
    if release.state is not ReleaseState.PUBLISHED:
        return "This beta is not out."
    if release.expires_on is not None and release.expires_on < civil_date(now, current_settings().default_time_zone):
        return "This beta has expired."
    final = newest_stable().get(release.product_id)
    if final is not None and final.version_key > release.version_key:
        return f"{final.version} is out, so this beta is no longer offered."
    return None


def untried(adoption: Adoption) -> list[Group]:
    """Return the organisations that were told and of which nobody downloaded anything."""
    return [group for group in adoption.groups if group.organization_id and group.was_told and not group.tried]


def resting(groups: Sequence[Group], now: datetime) -> Mapping[int, datetime]:
    """Return when those of the organisations were nudged last that were within a week, by id."""
    return _nudged_since([group.organization_id for group in groups], now)


def people(release: Release, groups: Sequence[Group], now: datetime) -> list[Person]:
    """Return the contacts of these organisations, and who of them would be mailed now, by address: at most MOST_LISTED."""
    ids = [group.organization_id for group in groups]
    return audiences.people(_circle(release, ids, now), limit=MOST_LISTED)


def nudge(release_id: int, organization_ids: Collection[int], *, actor: User | None, now: datetime) -> int:
    """Mail the contacts of those of the organisations that may be nudged. Returns how many organisations that are.

    Raises Conflict if that is none: they tried it meanwhile, were nudged within the week, or nobody there can be mailed.
    """
    # Whoever presses at the same moment waits here, and then finds the first one's nudges.
    locked = sa.select(Organization.id).where(Organization.id.in_(list(organization_ids))).order_by(Organization.id).with_for_update()
    asked = set(db.session.scalars(locked))
    release = db.session.get_one(Release, release_id)
    refusal = obstacle(release, now)
    if refusal:
        raise Conflict(refusal)
    ids = asked & {group.organization_id for group in untried(adoption_of(release))}
    ids -= _nudged_since(list(ids), now).keys()
    mailed = audiences.mailed(_circle(release, sorted(ids), now))
    people = sa.select(User.organization_id).where(User.id.in_(mailed.with_only_columns(User.id)))
    reached = db.session.scalars(sa.select(Organization.id).where(Organization.id.in_(people)).order_by(Organization.id)).all()
    if not reached:
        raise Conflict("Nobody is left to nudge: they tried the beta meanwhile, were nudged within a week, or get no mail about betas.")
    notice = outbox.enqueue(
        NUDGE,
        mailed,
        context={"release_id": release.id, "title": f"{release.product.name} {release.version}"},
        topic=Topic.BETA,
        product_id=release.product_id,
        now=now,
        created_by_id=actor.id if actor else None,
    )
    db.session.add_all(
        Nudge(release_id=release.id, organization_id=one, notice_id=notice.id, sent_at=now, sent_by_id=actor.id if actor else None)
        for one in reached
    )
    db.session.flush()
    audit.record(
        "release.nudged", subject_type="release", subject_id=release.id, actor=actor, now=now,
        version=release.version, organizations=len(reached),
    )  # fmt: skip
    return len(reached)


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go out once the beta is no longer offered, to somebody not entitled now, or whose organisation tried it meanwhile."""
    release = db.session.get_one(Release, notice.context["release_id"])
    if obstacle(release, now):
        return {delivery.id: NOT_OFFERED for delivery in deliveries}
    ids = [delivery.user_id for delivery in deliveries]
    still = set(db.session.scalars(entitled(Benefit.BETAS, release.product_id, now, among=ids)))
    took = (
        sa.select(User.organization_id)
        .join(Download, Download.user_id == User.id)
        .join(Build, Build.id == Download.build_id)
        .where(Build.release_id == release.id, User.organization_id.is_not(None))
    )
    tried = set(db.session.scalars(sa.select(User.id).where(User.id.in_(ids), User.organization_id.in_(took))))
    refused = {delivery.id: NOT_ENTITLED for delivery in deliveries if delivery.user_id not in still}
    return {**{delivery.id: TRIED_SINCE for delivery in deliveries if delivery.user_id in tried}, **refused}


def describe(notice: Notice) -> Mapping[str, Any]:
    release = db.session.get_one(Release, notice.context["release_id"])
    return {
        "version": release.version,
        "version_text": kind_version(release.version),
        "summary": release.summary,
        "what_to_test": release.what_to_test,
        "expires_on": long_date(release.expires_on) if release.expires_on else None,
        "release_path": release.path,
    }


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(NUDGE, label="Reminder of a beta", check=check, shared=describe, to_many=True, staff_path=_staff_path))


def _circle(release: Release, organization_ids: Sequence[int], now: datetime) -> Circle:
    circle = contacts(release.product_id, Topic.BETA, now)
    return circle.narrow(User.organization_id.in_(organization_ids))


def _nudged_since(organization_ids: Sequence[int], now: datetime) -> Mapping[int, datetime]:
    last = sa.select(Nudge.organization_id, Nudge.sent_at).where(Nudge.organization_id.in_(organization_ids), Nudge.sent_at > now - REST)
    return dict(db.session.execute(last.order_by(Nudge.sent_at)).all())


def _staff_path(notice: Notice) -> str:
    release = db.session.get_one(Release, notice.context["release_id"])
    return f"/staff/releases/{release.product.slug}/{release.version}/adoption/"
