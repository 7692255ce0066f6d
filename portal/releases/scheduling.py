"""Releases that publish themselves: a draft is given a time, and the worker publishes it then, once, by `publish_release`.

Until then nobody outside sees it, and nothing of it can be changed: what was looked at is what goes out. Whoever wants to change it
makes it a draft again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from portal import audit
from portal.account.models import Role, User
from portal.database import db
from portal.errors import Conflict, Invalid
from portal.notices import outbox
from portal.notices.kinds import Kind, register
from portal.notices.models import Notice
from portal.releases.drafts import lock_release
from portal.releases.models import Release, ReleaseState
from portal.releases.publishing import obstacle_to_publishing, publish_release

NOT_PUBLISHED = "release_not_published"
FURTHEST = timedelta(days=366)


def read_time(text: str, zone: str) -> datetime:
    """Return the instant that a date and time name (ISO 8601), on the clocks of `zone` unless it says where.

    Of an hour that comes twice the first is meant. Raises Invalid for what is none, and for an hour that the clocks leave out.
    """
    try:
        local = datetime.fromisoformat(text.strip())
        instant = (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
        shown = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Invalid("Enter a date and a time, like 2027-01-31 09:00.", "publish_at") from None
    if local.tzinfo is None and shown != local:
        raise Invalid(f"There is no such time in {zone}: the clocks are put forward over it. Choose another one.", "publish_at")
    return instant


def schedule(release_id: int, at: datetime, *, revision: int | None = None, actor: User | None, now: datetime) -> Release:
    """Let a draft publish itself at `at`. `revision`, where given, is the one that was looked at.

    Raises NotFound; Invalid for a time that is past or more than a year ahead; Conflict if it is no draft, could not be
    published as it stands, would have expired by then, or was changed meanwhile.
    """
    release = lock_release(release_id)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict(f"{release.product.name} {release.version} is already {release.state.value}.")
    if revision is not None and revision != release.revision:
        raise Conflict("The draft was changed after you opened it. Nothing was scheduled; look at it again first.")
    if at <= now:
        raise Invalid("This time has passed. Choose a later one, or publish at once.", "publish_at")
    if at > now + FURTHEST:
        raise Invalid("This is more than a year ahead. Choose an earlier time.", "publish_at")
    obstacle = obstacle_to_publishing(release, at)
    if obstacle:
        raise Conflict(obstacle)
    release.state, release.scheduled_for = ReleaseState.SCHEDULED, at
    release.revision += 1  # whoever edits the draft at this moment is told
    db.session.flush()
    _record("release.scheduled", release, actor, now, at=at.isoformat())
    return release


def unschedule(release_id: int, *, actor: User | None, now: datetime) -> Release:
    """Make a scheduled release a draft again. Raises NotFound; Conflict if it is not scheduled (any more)."""
    release = lock_release(release_id)
    if release.state is not ReleaseState.SCHEDULED:
        raise Conflict(f"{release.product.name} {release.version} is not scheduled: it is {_in_words(release)}.")
    _make_draft(release)
    _record("release.unscheduled", release, actor, now)
    return release


def due(now: datetime) -> list[int]:
    """Return the ids of the releases whose time has come, the earliest first."""
    waiting = sa.select(Release.id).where(Release.state == ReleaseState.SCHEDULED, Release.scheduled_for <= now)
    return list(db.session.scalars(waiting.order_by(Release.scheduled_for, Release.id)))


def publish_if_due(release_id: int, now: datetime) -> Release | None:
    """Publish a release whose time has come. None if another worker was first, or somebody took it back.

    Raises Conflict, as `publish_release` does, if it cannot be published.
    """
    release = lock_release(release_id)
    if release.state is not ReleaseState.SCHEDULED or release.scheduled_for is None or release.scheduled_for > now:
        return None
    return publish_release(release_id, actor=None, now=now, scheduled=True)


def give_up(release_id: int, reason: str, now: datetime) -> None:
    """Make a release that could not be published at its time a draft again, and mail the release managers why."""
    release = lock_release(release_id)
    if release.state is not ReleaseState.SCHEDULED:
        return
    _make_draft(release)
    managers = User.roles.any(Role.name.in_(("publisher", "admin")))
    outbox.enqueue(
        NOT_PUBLISHED,
        sa.select(User.id, User.email, User.name).where(User.active.is_(True), managers),
        context={"release_id": release.id, "reason": reason, "title": f"{release.product.name} {release.version}"},
        product_id=release.product_id,
        now=now,
    )
    _record("release.not_published", release, None, now, reason=reason)


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(NOT_PUBLISHED, label="Scheduled release not published", shared=_describe, staff_path=_staff_path))


def _make_draft(release: Release) -> None:
    release.state, release.scheduled_for = ReleaseState.DRAFT, None
    release.revision += 1
    db.session.flush()


def _in_words(release: Release) -> str:
    return "a draft" if release.state is ReleaseState.DRAFT else release.state.value


def _record(action: str, release: Release, actor: User | None, now: datetime, **details: Any) -> None:
    audit.record(
        action, subject_type="release", subject_id=release.id, actor=actor, now=now,
        product=release.product.slug, version=release.version, **details,
    )  # fmt: skip


def _describe(notice: Notice) -> Mapping[str, Any]:
    return {"version": notice.context["title"].rpartition(" ")[2], "staff_path": _staff_path(notice)}


def _staff_path(notice: Notice) -> str | None:
    release = db.session.get(Release, notice.context["release_id"])
    return f"/staff/releases/{release.product.slug}/{release.version}/" if release is not None else None
