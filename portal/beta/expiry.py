"""Betas that are about to stop running: those who have one are warned by mail, WARN_DAYS before its last day.

The worker asks `warn` every hour. A warning is a notice with a key of its own, so it is made once, whoever asks how often. After
days without a worker only the latest warning that applies is made up for.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal.account.entitlements import Benefit, entitled
from portal.account.models import User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.notices.progress import find_by_key
from portal.releases.catalog import newest_running
from portal.releases.drafts import lock_release
from portal.releases.models import Build, Channel, Download, Release, ReleaseState
from portal.web.formatting import kind_version, long_date

EXPIRING = "beta_expiring"
# How many days before its last day a beta's testers are warned, by the calendar of the portal's zone.
WARN_DAYS = (14, 3)

NOT_ENTITLED = "not entitled"
NOT_RUNNING = "beta no longer runs"
OVERTAKEN = "a later warning goes out"


def warn(now: datetime) -> int:
    """Put the warnings into the outbox that are due at `now` and were not made yet. Returns how many.

    A beta published within the days of a warning is not warned of by it: its own notice said so.
    """
    today = civil_date(now, current_settings().default_time_zone)
    ending = (
        sa.select(Release.id)
        .where(
            Release.channel == Channel.BETA,
            Release.state == ReleaseState.PUBLISHED,
            Release.expires_on.between(today, today + timedelta(days=max(WARN_DAYS))),
        )
        .order_by(Release.id)
    )
    return sum(_warn_of(release_id, now) for release_id in db.session.scalars(ending).all())


def _warn_of(release_id: int, now: datetime) -> bool:
    release = lock_release(release_id)  # two workers ask at the same second
    days = step_at(release, now)
    if days is None or release.state is not ReleaseState.PUBLISHED or find_by_key(_key(release, days)) is not None:
        return False
    outbox.enqueue(
        EXPIRING,
        _holders(release, now),
        context={"release_id": release.id, "days": days, "title": f"{release.product.name} {release.version}"},
        product_id=release.product_id,
        key=_key(release, days),
        now=now,
    )
    return True


def step_at(release: Release, now: datetime) -> int | None:
    """Return which warning applies to a beta at `now`: the latest of WARN_DAYS that was reached while it was out, None if none was."""
    assert release.published_at is not None, "only a published beta runs out"
    zone = current_settings().default_time_zone
    if release.expires_on is None:
        return None
    left = (release.expires_on - civil_date(now, zone)).days
    had = (release.expires_on - civil_date(release.published_at, zone)).days
    return min((days for days in WARN_DAYS if 0 <= left <= days < had), default=None)


def check(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go out to somebody who may no longer have the beta, nor once its last day or the next warning has come."""
    release = _release_of(notice)
    days = step_at(release, now) if release.state is ReleaseState.PUBLISHED else None
    if days != notice.context["days"]:
        return {delivery.id: NOT_RUNNING if days is None else OVERTAKEN for delivery in deliveries}
    allowed = entitled(Benefit.BETAS, release.product_id, now, among=[delivery.user_id for delivery in deliveries])
    still = set(db.session.scalars(allowed))
    return {delivery.id: NOT_ENTITLED for delivery in deliveries if delivery.user_id not in still}


def describe(notice: Notice) -> Mapping[str, Any]:
    """Return what the templates of a warning need: the beta, its last day, and the newest version to move to."""
    release = _release_of(notice)
    assert release.expires_on is not None, "a beta is warned of because it has a last day"
    newer = newest_running(release, civil_date(notice.created_at, current_settings().default_time_zone))
    return {
        "version": release.version,
        "version_text": kind_version(release.version),
        "expires_on": long_date(release.expires_on),
        "release_path": release.path,
        "newer_text": kind_version(newer.version) if newer else None,
        "newer_path": newer.path if newer else None,
    }


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(EXPIRING, label="Beta about to expire", check=check, shared=describe, to_many=True, staff_path=_staff_path))


def _holders(release: Release, now: datetime) -> outbox.Audience:
    """Everybody who took a build of the beta and may still have it."""
    took = sa.select(Download.user_id).join(Build, Build.id == Download.build_id).where(Build.release_id == release.id)
    may = entitled(Benefit.BETAS, release.product_id, now)
    return sa.select(User.id, User.email, User.name).where(User.id.in_(took), User.id.in_(may))


def _key(release: Release, days: int) -> str:
    return f"release-{release.id}-expires-{days}"


def _staff_path(notice: Notice) -> str:
    release = _release_of(notice)
    return f"/staff/releases/{release.product.slug}/{release.version}/"


def _release_of(notice: Notice) -> Release:
    release = db.session.get(Release, notice.context["release_id"])
    assert release is not None, "what was published is never deleted"
    return release
