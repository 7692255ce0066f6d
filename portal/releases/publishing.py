"""Publishing and withdrawing: each one act, in the caller's transaction, with everything that follows from it."""

from datetime import datetime

from portal import audit
from portal.account.models import User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.errors import Conflict
from portal.releases import announcements, builds, followups, ways_out
from portal.releases.drafts import lock_release
from portal.releases.models import Release, ReleaseState
from portal.text import clean_text

LONGEST_REASON = 2_000


def publish_release(release_id: int, *, actor: User | None, now: datetime, revision: int | None = None, scheduled: bool = False) -> Release:
    """Publish a draft, or with `scheduled` a release whose time has come: its state, its notice with one delivery for each
    person of the audience, and what others registered in `followups`.

    `revision`, where given, is the one the publisher looked at.
    Raises NotFound; Conflict if it is no draft any more, has no build, stops running before today, or was changed after
    the publisher looked.
    """
    release = lock_release(release_id)
    if release.state is not (ReleaseState.SCHEDULED if scheduled else ReleaseState.DRAFT):
        raise Conflict(f"{release.product.name} {release.version} is already {release.state.value}.")
    if revision is not None and revision != release.revision:
        raise Conflict("The draft was changed after you opened it. Nothing was published; look at it again first.")
    obstacle = obstacle_to_publishing(release, now)
    if obstacle:
        raise Conflict(obstacle)
    release.state = ReleaseState.PUBLISHED
    release.revision += 1  # whoever edits the draft at this moment is told
    release.published_at = now
    release.published_by_id = actor.id if actor else None
    db.session.flush()
    notice = announcements.announce(release, actor=actor, now=now)
    for follow_up in followups.published:
        follow_up(release, notice, actor, now)
    audit.record(
        "release.published", subject_type="release", subject_id=release.id, actor=actor, now=now,
        product=release.product.slug, version=release.version, channel=release.channel.value, kind=release.kind.value,
    )  # fmt: skip
    return release


def obstacle_to_publishing(release: Release, now: datetime) -> str | None:
    """Say why a draft cannot be published as it stands, None if it can."""
    of_builds = builds.obstacle_to_publishing(release)
    if of_builds:
        return of_builds
    if release.expires_on is not None and release.expires_on < civil_date(now, current_settings().default_time_zone):
        return "The day on which this beta stops running has passed. Choose a later one."
    return None


def withdraw(
    release_id: int,
    reason: str,
    *,
    safe_release_id: int | None = None,
    tell_downloaders: bool = True,
    actor: User | None,
    now: datetime,
) -> Release:
    """Stop all downloads of a published release and leave a tombstone that gives `reason` and the safe version to move to, if any.

    Notices still waiting are not sent (their check sees to it). `tell_downloaders`: exactly those who downloaded a build of it,
    entitled today or not, are mailed the same.
    Raises NotFound; Invalid without a reason, or for a version that nobody can be sent to; Conflict unless it is published.
    """
    reason = clean_text(reason, "reason", LONGEST_REASON)
    release = lock_release(release_id)
    if release.state is not ReleaseState.PUBLISHED:
        state = {
            ReleaseState.WITHDRAWN: "withdrawn already",
            ReleaseState.SCHEDULED: "not out yet; make it a draft again instead",
        }.get(release.state, "a draft; discard it instead")
        raise Conflict(f"{release.product.name} {release.version} is {state}.")
    safe = ways_out.choose(release, safe_release_id, civil_date(now, current_settings().default_time_zone))
    release.state = ReleaseState.WITHDRAWN
    release.withdrawn_at = now
    release.withdrawn_reason = reason
    release.safe_release_id = safe.id if safe else None
    db.session.flush()
    if tell_downloaders:
        announcements.announce_withdrawal(release, actor=actor, now=now)
    for follow_up in followups.withdrawn:
        follow_up(release, actor, now)
    audit.record(
        "release.withdrawn", subject_type="release", subject_id=release.id, actor=actor, now=now,
        product=release.product.slug, version=release.version, reason=reason, safe_version=safe.version if safe else None,
    )  # fmt: skip
    return release
