"""What becomes of betas: 15.3b1 and 15.3rc1 belong to the final 15.3."""

from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import selectinload

from portal.database import db
from portal.releases import versions
from portal.releases.models import Build, Channel, Download, Release, ReleaseState


def final_of(beta: Release) -> Release | None:
    """Return the published final that a beta became, None while there is none."""
    key = versions.final_key(beta.version)
    return db.session.scalar(
        sa.select(Release).where(
            Release.product_id == beta.product_id,
            Release.version_key == key,
            Release.channel == Channel.STABLE,
            Release.state == ReleaseState.PUBLISHED,
        )
    )


def betas_of(final: Release) -> list[Release]:
    """Return the betas of a final that are or were published, the newest version first. Who may see them is for the gate to say."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(_belongs_to(final), Release.state.in_((ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN)))
            .options(selectinload(Release.builds))
            .order_by(Release.version_key.desc())
        )
    )


def betas_run(final: Release, user_ids: Collection[int], at: datetime) -> Mapping[int, str]:
    """Return, by user id, the newest beta of `final` that each of these people had downloaded at `at`. Others are left out.

    Two statements, however many people; one where the final has no betas, as most have none.
    """
    if final.channel is not Channel.STABLE or not db.session.scalar(sa.select(sa.exists().where(_belongs_to(final)))):
        return {}
    took = (
        sa.select(Download.user_id, Release.version)
        .join(Build, Build.id == Download.build_id)
        .join(Release, Release.id == Build.release_id)
        .where(Download.user_id.in_(user_ids), Download.started_at <= at, _belongs_to(final))
        .order_by(Release.version_key)
    )
    return {user_id: version for user_id, version in db.session.execute(took) if user_id is not None}


def _belongs_to(final: Release) -> sa.ColumnElement[bool]:
    """Betas of the same product whose key stands between the first development release of a version and the version itself."""
    first, last = versions.keys_before_final(final.version)
    return sa.and_(
        Release.product_id == final.product_id,
        Release.channel == Channel.BETA,
        Release.version_key >= first,
        Release.version_key < last,
    )
