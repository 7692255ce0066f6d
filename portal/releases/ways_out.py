"""Where to go from a release that was withdrawn: the safe version that was chosen then, as long as that one stands."""

from collections.abc import Mapping, Sequence
from datetime import date

import sqlalchemy as sa

from portal.database import db
from portal.errors import Invalid
from portal.releases.catalog import may_move_to
from portal.releases.models import Channel, Release, ReleaseState


def choices(release: Release, today: date) -> list[Release]:
    """Return the versions somebody may be sent to from `release`, the newest first: published, still running, and open to them.

    Stable releases from a stable one, since everybody reads of those; both from a beta.
    """
    return list(db.session.scalars(may_move_to(release, today).order_by(Release.version_key.desc())))


def propose(release: Release, offered: Sequence[Release]) -> Release | None:
    """Propose one of the versions that `choices` offered, None if there are none.

    That is the newest above `release`; without one the newest stable release, since betas before it may well have the same fault.
    """
    newest = next(iter(offered), None)
    if newest is None or newest.version_key > release.version_key:
        return newest
    return next((one for one in offered if one.channel is Channel.STABLE), newest)


def choose(release: Release, safe_release_id: int | None, today: date) -> Release | None:
    """Return the chosen version, None for none. Raises Invalid for one that nobody may be sent to (any more)."""
    if safe_release_id is None:
        return None
    found = db.session.scalar(may_move_to(release, today).where(Release.id == safe_release_id))
    if found is None:
        raise Invalid("That version cannot be moved to: it must be published and not have expired. Choose another one, or none.", "safe")
    return found


def targets_of(product_id: int) -> Mapping[int, Release]:
    """Return every version of a product that a withdrawn one leads to, by id, for `way_out`. One statement."""
    chosen = sa.select(Release.safe_release_id).where(Release.product_id == product_id, Release.safe_release_id.is_not(None))
    return {release.id: release for release in db.session.scalars(sa.select(Release).where(Release.id.in_(chosen)))}


def way_out(release: Release, today: date, targets: Mapping[int, Release] | None = None) -> Release | None:
    """Return the version to move to from a withdrawn release, None if there is none on `today`.

    Where the chosen version was withdrawn later, the way leads on to the one chosen then.
    """
    if release.safe_release_id is None:
        return None
    targets = targets_of(release.product_id) if targets is None else targets
    found = targets.get(release.safe_release_id)
    while found is not None and found.state is ReleaseState.WITHDRAWN:
        found = targets.get(found.safe_release_id) if found.safe_release_id is not None else None
    runs = found is not None and (found.expires_on is None or found.expires_on >= today)
    return found if runs else None
