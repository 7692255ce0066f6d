"""Finding releases, one or many."""

from datetime import date

import sqlalchemy as sa
from sqlalchemy.orm import joinedload, selectinload

from portal.database import db
from portal.errors import Invalid, NotFound
from portal.products.catalog import is_slug
from portal.products.models import Product
from portal.releases import versions
from portal.releases.models import Channel, Release, ReleaseState

VISIBLE = (ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN)


_NEWEST_KEYS = (
    sa.select(Release.product_id, Release.channel, sa.func.max(Release.version_key).label("version_key"))
    .where(Release.state == ReleaseState.PUBLISHED)
    .group_by(Release.product_id, Release.channel)
    .subquery()
)
# Built once: the home page, the sign-in page and the list of betas all ask it.
_NEWEST = (
    sa.select(Release)
    .join(_NEWEST_KEYS, sa.and_(Release.product_id == _NEWEST_KEYS.c.product_id, Release.version_key == _NEWEST_KEYS.c.version_key))
    .options(joinedload(Release.builds))
)


def find_release(product_slug: str, version: str) -> Release:
    """Return a release in whatever state, by any spelling of its version; for staff. Raises NotFound."""
    found = db.session.scalar(_by_version(product_slug, version))
    if found is None:
        raise NotFound(f"There is no release {version} of {product_slug}.")
    return found


def find_visible(product_slug: str, version: str, channel: Channel) -> Release:
    """Return a release of `channel` that is or was published.

    Raises NotFound, in the same words for a draft, for another channel's release, and for one that never was.
    """
    found = db.session.scalar(_by_version(product_slug, version).where(Release.channel == channel, Release.state.in_(VISIBLE)))
    if found is None:
        raise NotFound(f"There is no release {version} of {product_slug}.")
    return found


def published(product_id: int, channel: Channel) -> list[Release]:
    """Return the published releases of a product's channel with their builds, the newest version first."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .where(Release.product_id == product_id, Release.channel == channel, Release.state == ReleaseState.PUBLISHED)
            .options(selectinload(Release.builds))
            .order_by(Release.version_key.desc())
        )
    )


def history(product_id: int, channel: Channel, *, below: str | None = None, limit: int) -> list[Release]:
    """Return releases that are or were published, the newest version first: at most `limit`, all below the version `below`.

    Raises NotFound if `below` is no version.
    """
    releases = (
        sa.select(Release)
        .where(Release.product_id == product_id, Release.channel == channel, Release.state.in_(VISIBLE))
        .options(selectinload(Release.builds))
        .order_by(Release.version_key.desc())
        .limit(limit)
    )
    return list(db.session.scalars(releases if below is None else releases.where(Release.version_key < _key(below))))


def newest_published() -> dict[Channel, dict[int, Release]]:
    """Return the newest published release of each channel and product with its builds, by product id."""
    newest: dict[Channel, dict[int, Release]] = {channel: {} for channel in Channel}
    for release in db.session.scalars(_NEWEST).unique():
        newest[release.channel][release.product_id] = release
    return newest


def newest_stable() -> dict[int, Release]:
    """Return the newest published stable release of each product that has one, by product id."""
    return newest_published()[Channel.STABLE]


def newest_running(release: Release, today: date) -> Release | None:
    """Return the newest version above `release` to move to from it on `today`, None if there is none."""
    return db.session.scalar(
        may_move_to(release, today).where(Release.version_key > release.version_key).order_by(Release.version_key.desc()).limit(1)
    )


def may_move_to(release: Release, today: date) -> sa.Select[Release]:
    """Select the published versions that whoever has `release` may move to, and that still run on `today`.

    From a beta these are stable releases and betas whose last day is not over, from a stable release stable ones.
    """
    may = (Channel.STABLE, Channel.BETA) if release.channel is Channel.BETA else (Channel.STABLE,)
    return sa.select(Release).where(
        Release.product_id == release.product_id,
        Release.id != release.id,
        Release.state == ReleaseState.PUBLISHED,
        Release.channel.in_(may),
        sa.or_(Release.expires_on.is_(None), Release.expires_on >= today),
    )


def drafts() -> list[Release]:
    """Return all drafts and scheduled releases with their builds, by product, the newest version first."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .join(Product, Product.id == Release.product_id)
            .where(Release.state.in_((ReleaseState.DRAFT, ReleaseState.SCHEDULED)))
            .options(selectinload(Release.builds))
            .order_by(Product.name, Release.version_key.desc())
        )
    )


def newest_of_each(limit: int) -> dict[int, list[Release]]:
    """Return the `limit` highest versions of each product that are or were published, by product id."""
    place = sa.func.row_number().over(partition_by=Release.product_id, order_by=Release.version_key.desc())
    ranked = sa.select(Release.id, place.label("place")).where(Release.state.in_(VISIBLE)).subquery()
    releases = db.session.scalars(
        sa.select(Release)
        .join(ranked, ranked.c.id == Release.id)
        .where(ranked.c.place <= limit)
        .options(selectinload(Release.builds))
        .order_by(Release.version_key.desc())
    )
    found: dict[int, list[Release]] = {}
    for release in releases:
        found.setdefault(release.product_id, []).append(release)
    return found


def everything_of(product_id: int, *, below: str | None = None, limit: int | None = None) -> list[Release]:
    """Return a product's releases in whatever state with their builds, the newest version first, all below `below`.

    Raises NotFound if `below` is no version.
    """
    releases = (
        sa.select(Release)
        .where(Release.product_id == product_id)
        .options(selectinload(Release.builds))
        .order_by(Release.version_key.desc())
        .limit(limit)
    )
    return list(db.session.scalars(releases if below is None else releases.where(Release.version_key < _key(below))))


def everything() -> list[Release]:
    """Return all releases of all products in whatever state with their builds, by product, the newest version first."""
    return list(
        db.session.scalars(
            sa.select(Release)
            .join(Product, Product.id == Release.product_id)
            .options(selectinload(Release.builds))
            .order_by(Product.name, Release.version_key.desc())
        )
    )


def _by_version(product_slug: str, version: str) -> sa.Select[Release]:
    if not is_slug(product_slug):
        raise NotFound(f"There is no product {product_slug}.")
    return (
        sa.select(Release)
        .join(Product, Product.id == Release.product_id)
        .where(Product.slug == product_slug, Release.version_key == _key(version))
    )


def _key(version: str) -> str:
    try:
        return versions.parse(version).key
    except Invalid:
        raise NotFound(f"There is no release {version}.") from None
