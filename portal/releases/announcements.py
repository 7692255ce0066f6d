"""The notices a release sends: that it is out, and that it was withdrawn."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask import current_app

from portal.account.entitlements import Benefit, entitled
from portal.account.models import User
from portal.config import Settings
from portal.database import db
from portal.markdown import render_markdown
from portal.notices import outbox
from portal.notices.kinds import Kind, register
from portal.notices.models import Delivery, Notice
from portal.releases.audience import audience, needs_contract, topic_of
from portal.releases.models import Build, Channel, Download, Release, ReleaseState
from portal.web.formatting import file_size, kind_version, local_date, long_date

PUBLISHED = "release"
TEST = "release_test"
WITHDRAWN = "release_withdrawn"

NOT_ENTITLED = "not entitled"
RELEASE_WITHDRAWN = "release withdrawn"


def announce(release: Release, *, actor: User | None, now: datetime) -> Notice:
    """Put the notice of a release into the outbox, one delivery for each person of its audience."""
    return outbox.enqueue(
        PUBLISHED,
        audience(release, now),
        context={"release_id": release.id},
        topic=topic_of(release),
        product_id=release.product_id,
        key=published_key(release.id),
        now=now,
        created_by_id=actor.id if actor else None,
    )


def announce_withdrawal(release: Release, *, actor: User | None, now: datetime) -> Notice:
    """Tell exactly those who downloaded a build of the release that it was withdrawn, and why."""
    return outbox.enqueue(
        WITHDRAWN,
        downloaders(release.id),
        context={"release_id": release.id},
        product_id=release.product_id,
        key=f"release-{release.id}-withdrawn",
        now=now,
        created_by_id=actor.id if actor else None,
    )


def send_test(release: Release, *, actor: User, now: datetime) -> Notice:
    """Send the notice of a release, as it stands, to the one who asks."""
    me = sa.select(User.id, User.email, User.name).where(User.id == actor.id)
    return outbox.enqueue(
        TEST, me, context={"release_id": release.id}, product_id=release.product_id, now=now, created_by_id=actor.id
    )  # fmt: skip


def published_key(release_id: int) -> str:
    """The key under which there is one notice of a release, whoever clicks how often."""
    return f"release-{release_id}-published"


def find_notice(release: Release) -> Notice | None:
    """Return the notice that announced a release, None before it is published."""
    return db.session.scalar(sa.select(Notice).where(Notice.key == published_key(release.id)))


def downloaders(release_id: int) -> outbox.Audience:
    """Select (user id, address, name) of everybody who is known to have downloaded a build of the release."""
    took = sa.select(Download.user_id).join(Build, Build.id == Download.build_id).where(Build.release_id == release_id)
    return sa.select(User.id, User.email, User.name).where(User.id.in_(took))


def draft_notice(release: Release, *, now: datetime) -> Notice:
    """Return the notice as publishing would make it now, for a preview. It belongs to no session and is never stored."""
    return Notice(
        kind=PUBLISHED, topic=topic_of(release), product_id=release.product_id, context={"release_id": release.id}, created_at=now
    )


def check_release(notice: Notice, deliveries: Sequence[Delivery], now: datetime) -> Mapping[int, str]:
    """Let nothing go out about a release withdrawn since, nor to somebody no longer entitled to hear of it."""
    release = _release_of(notice)
    if release is None or release.state is not ReleaseState.PUBLISHED:
        return {delivery.id: RELEASE_WITHDRAWN for delivery in deliveries}
    if needs_contract(release):
        allowed = entitled(Benefit.NOTICES, release.product_id, now)
    else:
        allowed = sa.select(User.id).where(User.active.is_(True))
    people = allowed.subquery()
    wanted = [delivery.user_id for delivery in deliveries]
    still = set(db.session.scalars(sa.select(people.c[0]).where(people.c[0].in_(wanted))))
    return {delivery.id: NOT_ENTITLED for delivery in deliveries if delivery.user_id not in still}


def describe(notice: Notice) -> Mapping[str, Any]:
    """Return what the templates of a release's notices need."""
    release = _release_of(notice)
    if release is None:
        raise LookupError(f"the release of notice {notice.id} is gone")
    settings: Settings = current_app.extensions["portal.settings"]
    is_beta = release.channel is Channel.BETA
    published_at = release.published_at or notice.created_at
    builds = [
        {"filename": build.filename, "platform": build.platform, "size": file_size(build.size), "sha256": build.sha256}
        for build in release.builds
    ]
    return {
        "product_name": release.product.name,
        "version": release.version,
        "version_text": kind_version(release.version),
        "is_beta": is_beta,
        "kind_text": "Beta" if is_beta else f"{release.kind.value.capitalize()} release",
        "published_on": long_date(local_date(published_at, settings.default_time_zone)),
        "expires_on": long_date(release.expires_on) if release.expires_on else None,
        "summary": release.summary,
        "notes": release.notes,
        "notes_html": render_markdown(release.notes),
        "known_issues": release.known_issues,
        "known_issues_html": render_markdown(release.known_issues),
        "what_to_test": release.what_to_test,
        "what_to_test_html": render_markdown(release.what_to_test),
        "builds": builds,
        "withdrawn_reason": release.withdrawn_reason,
        "release_path": f"/{'beta' if is_beta else 'releases'}/{release.product.slug}/{release.version}/",
    }


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(PUBLISHED, check=check_release, shared=describe))
    register(Kind(TEST, shared=describe))
    register(Kind(WITHDRAWN, shared=describe))


def _release_of(notice: Notice) -> Release | None:
    return db.session.get(Release, notice.context["release_id"])
