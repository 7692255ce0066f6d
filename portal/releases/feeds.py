"""What stands in the feeds of a product: one for everybody, and one for the holder of a seat, which has the betas too.

Who sees what, decided at each fetch:

* Anybody, at the plain address: stable releases.
* The token of a live seat whose contract is in force: stable releases and betas, without those that have expired.
* The token of a live seat whose contract has ended, is suspended or cancelled, or has not started: the stable releases, as anybody,
  and one entry that says why there are no betas and who can change it. The address is right and will work again, so the reader's
  program should keep it.
* Any other token (unknown, revoked, of a released seat or a closed account, for downloads, for another product): no feed, and the
  one answer for all of them (410 Gone, `portal.releases.feed_views`). Falling back to the public feed would hide from its owner that
  the address is dead, and none of these ever comes to life again, so programs may stop asking.

No answer depends on whether there is a beta, except to those who may have it.

An entry keeps its id for ever (a tag URI, RFC 4151: host name, day of publication, product, version); so a correction or a
withdrawal is an update of the entry that readers have. The ids stand on the host name of PUBLIC_URL alone, not on scheme or port.
A withdrawn release stays, with the reason and the safe version to move to, if one was chosen, and without its files.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from markupsafe import Markup
from sqlalchemy.orm import selectinload

from portal.account.entitlements import Benefit, Decision, Reason, decide, explain
from portal.account.models import Contact, Contract
from portal.clock import civil_date
from portal.config import Settings
from portal.database import db
from portal.markdown import render_markdown
from portal.products.models import Product, StableAccess
from portal.releases.catalog import VISIBLE
from portal.releases.feed_formats import Attachment, Entry, Feed
from portal.releases.models import Build, Channel, Release, ReleaseState
from portal.releases.ways_out import targets_of, way_out
from portal.web.formatting import kind_version, long_date

NEWEST = 50
# The seat lives and its contract may open the betas again.
_PAUSED = {Reason.EXPIRED, Reason.SUSPENDED, Reason.CANCELLED, Reason.NOT_STARTED}
_PATH_LINK = re.compile('href="(?=/(?!/))')


@dataclass(frozen=True)
class _Reader:
    """For whom a feed is written: which channels they may see, and the zone in which their betas expire."""

    channels: tuple[Channel, ...]
    today: date | None = None
    time_zone: str = "UTC"


_ANYBODY = _Reader((Channel.STABLE,))


def public_feed(product: Product, url: str, settings: Settings) -> Feed:
    """Return the feed of a product's stable releases. `url` is the address it is fetched from, under PUBLIC_URL."""
    entries = _entries(product, _ANYBODY, settings)
    return Feed(
        id=tag(settings, product.created_at, f"{product.slug}/releases"),
        title=f"{product.name} releases",
        description=f"Stable releases of {product.name}, and what is new in them.",
        author=settings.vendor_name,
        page_url=_page(product, settings),
        url=url,
        updated=max((entry.updated for entry in entries), default=product.created_at),
        entries=entries,
    )


def private_feed(product: Product, contact: Contact, settings: Settings, now: datetime) -> Feed | None:
    """Return the feed of a product for the holder of a seat, None if the seat has nothing to do with the product.

    It does not name its own address: that is a secret, and programs hand on what stands in a feed.
    """
    decision = decide(contact.user, Benefit.BETAS, product, now, contact_id=contact.id)
    contract = contact.contract
    if decision.allowed:
        reader = _Reader((Channel.STABLE, Channel.BETA), civil_date(now, contract.time_zone), contract.time_zone)
        entries = _entries(product, reader, settings)
        gone = _last_expiry(product, reader)
    elif decision.reason in _PAUSED:
        entries = (_pause(product, contract, decision, settings), *_entries(product, _ANYBODY, settings))
        gone = None
    else:
        return None
    moments = [entry.updated for entry in entries] + ([gone] if gone else [])
    return Feed(
        id=tag(settings, product.created_at, f"{product.slug}/releases-and-betas"),
        title=f"{product.name} releases and betas",
        description=f"Stable releases and betas of {product.name}. For the holder of a seat of contract {contract.number} alone.",
        author=settings.vendor_name,
        page_url=_page(product, settings),
        url=None,
        updated=max(moments, default=product.created_at),
        entries=entries,
    )


def tag(settings: Settings, day: datetime, specific: str) -> str:
    """Return a permanent id (RFC 4151): the portal's host name, a day on which it was the vendor's, and what it names."""
    host = settings.public_host
    authority = host.encode("idna").decode() if not host.isascii() else host
    # An IPv6 address is no name; it cannot be anything but this machine.
    return f"tag:{authority if ':' not in authority else 'localhost'},{day.astimezone(UTC):%Y-%m-%d}:{quote(specific, safe='/!+')}"


# Which releases -----------------------------------------------------------------------------------------------------------------


def _entries(product: Product, reader: _Reader, settings: Settings) -> tuple[Entry, ...]:
    """The NEWEST releases that the reader may see, by their last change: what is withdrawn comes up again, however old."""
    changed = sa.func.coalesce(Release.withdrawn_at, Release.notes_corrected_at, Release.published_at)
    with_files = product.stable_access is StableAccess.PUBLIC
    releases = db.session.scalars(
        _visible(product, reader)
        .where(Release.state.in_(VISIBLE))
        .options(selectinload(Release.builds))
        .order_by(changed.desc(), Release.id.desc())
        .limit(NEWEST)
    ).all()
    targets = targets_of(product.id)
    today = reader.today or date.min  # whoever sees no betas sees nothing that ends
    return tuple(
        _withdrawal(release, way_out(release, today, targets), settings)
        if release.state is ReleaseState.WITHDRAWN
        else _publication(release, settings, release.handed_out if with_files and release.channel is Channel.STABLE else ())
        for release in releases
    )


def _visible(product: Product, reader: _Reader) -> sa.Select[Release]:
    current = sa.or_(Release.expires_on.is_(None), Release.expires_on >= reader.today) if reader.today else sa.true()
    return sa.select(Release).where(Release.product_id == product.id, Release.channel.in_(reader.channels), current)


def _last_expiry(product: Product, reader: _Reader) -> datetime | None:
    """When a beta last left this feed because its days were over."""
    last_day = db.session.scalar(
        sa.select(sa.func.max(Release.expires_on)).where(
            Release.product_id == product.id, Release.state.in_(VISIBLE), Release.expires_on < reader.today
        )
    )
    return _end_of(last_day, reader.time_zone) if last_day else None


def _end_of(day: date, zone: str) -> datetime:
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)).astimezone(UTC)


# What they say ------------------------------------------------------------------------------------------------------------------


def _publication(release: Release, settings: Settings, files: Collection[Build]) -> Entry:
    assert release.published_at is not None, "a release is in no feed before it is published"
    name, url = _name(release), settings.base_url + release.path
    parts = [Markup("<p><strong>{}</strong></p>").format(release.summary)] if release.summary else []
    if release.expires_on is not None:
        parts.append(Markup("<p>This beta runs until {}.</p>").format(long_date(release.expires_on)))
    for heading, text in (
        ("What to test", release.what_to_test if release.channel is Channel.BETA else ""),
        ("What is new", release.notes),
        ("Known issues", release.known_issues),
    ):
        if text:
            parts += [Markup("<h2>{}</h2>").format(heading), render_markdown(text)]
    parts.append(Markup('<p><a href="{}">Builds and checksums of {}</a></p>').format(url, name))
    return Entry(
        id=_id(release, settings),
        url=url,
        title=name,
        summary=release.summary,
        html=_whole_links(parts, settings),
        published=release.published_at,
        updated=max(release.published_at, release.notes_corrected_at or release.published_at),
        attachments=tuple(Attachment(f"{url}download/{quote(build.filename, safe='')}", build.size) for build in files),
    )


def _withdrawal(release: Release, safe: Release | None, settings: Settings) -> Entry:
    assert release.published_at is not None, "a release is in no feed before it is published"
    assert release.withdrawn_at is not None, "the database holds when a withdrawn release was withdrawn"
    name = _name(release)
    advice = Markup("<p>Stop using it and go back to the version you had before.</p>")
    if safe is not None:
        advice = Markup('<p>Stop using it. Move to <a href="{}">{}</a>.</p>').format(settings.base_url + safe.path, _name(safe))
    parts = [
        Markup("<p><strong>{} was withdrawn and cannot be downloaded any more.</strong></p>").format(name),
        render_markdown(release.withdrawn_reason or ""),
        advice,
    ]
    return Entry(
        id=_id(release, settings),
        url=settings.base_url + release.path,
        title=f"Withdrawn: {name}",
        summary="This version was withdrawn. Stop using it.",
        html=_whole_links(parts, settings),
        published=release.published_at,
        updated=max(release.withdrawn_at, release.notes_corrected_at or release.withdrawn_at),
    )


def _pause(product: Product, contract: Contract, decision: Decision, settings: Settings) -> Entry:
    """Why there are no betas, once for each time they stop."""
    reason, who_can_fix = explain(decision)
    assert decision.reason is not None, "only a refusal pauses a feed"
    since = {
        Reason.EXPIRED: _end_of(decision.ended_on, contract.time_zone) if decision.ended_on else None,
        Reason.SUSPENDED: contract.suspended_at,
        Reason.CANCELLED: contract.cancelled_at,
    }.get(decision.reason) or contract.created_at
    url = f"{settings.base_url}/account/contracts/{quote(contract.number, safe='')}/"
    return Entry(
        id=tag(settings, since, f"{product.slug}/contract/{contract.number}/{decision.reason.value}"),
        url=url,
        title=f"No betas of {product.name} at present",
        summary=reason,
        html=Markup('<p>{} {}</p><p>Until then, this feed has stable releases alone. <a href="{}">See contract {}</a></p>').format(
            reason, who_can_fix, url, contract.number
        ),
        published=since,
        updated=since,
    )


def _whole_links(parts: list[Markup], settings: Settings) -> str:
    """Join, and let links to paths of the portal lead there from wherever a feed is read."""
    return _PATH_LINK.sub(lambda match: match[0] + str(Markup.escape(settings.base_url)), "\n".join(parts))


def _name(release: Release) -> str:
    return f"{release.product.name} {kind_version(release.version)}"


def _id(release: Release, settings: Settings) -> str:
    assert release.published_at is not None, "a release is in no feed before it is published"
    return tag(settings, release.published_at, f"{release.product.slug}/{release.version}")


def _page(product: Product, settings: Settings) -> str:
    return f"{settings.base_url}/releases/{product.slug}/"
