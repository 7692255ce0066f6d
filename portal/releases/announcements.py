"""The notices a release sends: that it is out, and that it was withdrawn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal import audit
from portal.account.entitlements import Benefit, entitled
from portal.account.models import User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db, one_of
from portal.notices import outbox, rendering
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.notices.rendering import Preview, Recipient
from portal.products.models import StableAccess
from portal.releases.audience import audience, needs_contract, topic_of
from portal.releases.drafts import previous_version
from portal.releases.lineage import betas_run
from portal.releases.models import Build, Channel, Download, Release, ReleaseState
from portal.releases.ways_out import way_out
from portal.web.formatting import file_size, kind_version, long_date

PUBLISHED = "release"
WITHDRAWN = "release_withdrawn"

NOT_ENTITLED = "not entitled"
RELEASE_WITHDRAWN = "release withdrawn"

# What a person asked for: its title, the path of its page, and how it is called in a sentence ("idea 187").
AskedFor = dict[str, str]
# Given a release, user ids and a time: by user id, what each asked for and finds in that release. Others are left out.
AskedForProvider = Callable[[Release, Collection[int], datetime], Mapping[int, list[AskedFor]]]

_providers: list[AskedForProvider] = []


def on_asked_for(provider: AskedForProvider) -> None:
    """Register who knows what people asked for: it stands in the notice of the release that brings it."""
    _providers[:] = [provider]


def announce(release: Release, *, actor: User | None, now: datetime) -> Notice:
    """Put the notice of a release into the outbox, one delivery for each person of its audience."""
    return outbox.enqueue(
        PUBLISHED,
        audience(release, now),
        context=_context(release),
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
        _downloaders(release.id),
        context=_context(release),
        product_id=release.product_id,
        key=f"release-{release.id}-withdrawn",
        now=now,
        created_by_id=actor.id if actor else None,
    )


def count_downloaders(release_id: int) -> int:
    """Return how many people `announce_withdrawal` would tell."""
    return db.session.scalar(sa.select(sa.func.count()).select_from(_downloaders(release_id).subquery())) or 0


def send_test(release: Release, *, actor: User, now: datetime) -> Notice:
    """Send the notice of a release, as it stands, to the one who asks. It has no topic, so it goes whatever they switched off."""
    me = sa.select(User.id, User.email, User.name).where(User.id == actor.id)
    audit.record("release.tested", subject_type="release", subject_id=release.id, actor=actor, now=now, version=release.version)
    return outbox.enqueue(
        PUBLISHED, me, context=_context(release, test=True), product_id=release.product_id, now=now, created_by_id=actor.id
    )  # fmt: skip


def preview(release: Release, *, recipient: User, now: datetime) -> Preview:
    """Render the notice of a release as it would go to `recipient` now. Its links to preferences lead nowhere."""
    return rendering.preview(
        PUBLISHED,
        _context(release),
        product_id=release.product_id,
        topic=topic_of(release),
        recipient=Recipient(recipient.email, recipient.name, recipient.id),
        now=now,
    )


def published_key(release_id: int) -> str:
    """The key under which there is one notice of a release, whoever clicks how often."""
    return f"release-{release_id}-published"


def check_release(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Let nothing go out about a release withdrawn since, nor to somebody no longer entitled to hear of it."""
    release = _release_of(notice)
    if release is not None and notice.context.get("test"):
        return {}
    if release is None or release.state is not ReleaseState.PUBLISHED:
        return {delivery.id: RELEASE_WITHDRAWN for delivery in deliveries}
    people = [delivery.user_id for delivery in deliveries]
    if needs_contract(release):
        allowed = entitled(Benefit.NOTICES, release.product_id, now, among=people)
    else:
        allowed = sa.select(User.id).where(User.active.is_(True), one_of(User.id, people))
    still = set(db.session.scalars(allowed))
    return {delivery.id: NOT_ENTITLED for delivery in deliveries if delivery.user_id not in still}


def describe(notice: Notice) -> Mapping[str, Any]:
    """Return what the templates of a release's notices need."""
    release = _release_of(notice)
    if release is None:
        raise LookupError(f"the release of notice {notice.id} is gone")
    settings = current_settings()
    is_beta = release.channel is Channel.BETA
    published_at = release.published_at or notice.created_at
    safe = way_out(release, civil_date(notice.created_at, settings.default_time_zone))
    builds = [
        {"filename": build.filename, "about": build.about, "size": file_size(build.size), "sha256": build.sha256}
        for build in (*release.programs, *release.companions)
    ]
    return {
        "product_name": release.product.name,
        "version": release.version,
        "version_text": kind_version(release.version),
        "is_beta": is_beta,
        "kind_text": "Beta" if is_beta else f"{release.kind.value.capitalize()} release",
        "published_on": long_date(civil_date(published_at, settings.default_time_zone)),
        "expires_on": long_date(release.expires_on) if release.expires_on else None,
        "summary": release.summary,
        "notes": release.notes,
        "known_issues": release.known_issues,
        "what_to_test": release.what_to_test,
        "replaces": None if is_beta else previous_version(release.product_id, release.version_key),
        "builds": builds,
        "sign_in_first": is_beta or release.product.stable_access is not StableAccess.PUBLIC,
        "withdrawn_reason": release.withdrawn_reason,
        "safe_text": f"{release.product.name} {kind_version(safe.version)}" if safe else None,
        "safe_path": safe.path if safe else None,
        "release_path": release.path,
    }


def for_one_reader(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, Mapping[str, Any]]:
    """Return what stands in the mails of these people alone: what they asked for, and the beta they run whose final is out."""
    release = _release_of(notice)
    if release is None:
        return {}
    people = {delivery.user_id for delivery in deliveries}
    asked = _providers[0](release, people, now) if _providers else {}
    run = betas_run(release, people, now)
    blocks: dict[int, dict[str, Any]] = {}
    for delivery in deliveries:
        block: dict[str, Any] = {"asked_for": asked[delivery.user_id]} if delivery.user_id in asked else {}
        if delivery.user_id in run:
            block["beta_you_run"] = {"beta": kind_version(run[delivery.user_id]), "final": kind_version(release.version)}
        if block:
            blocks[delivery.id] = block
    return blocks


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(PUBLISHED, check=check_release, shared=describe, slots=for_one_reader, to_many=True, staff_path=_staff_path))
    register(Kind(WITHDRAWN, shared=describe, to_many=True, staff_path=_staff_path))


def _staff_path(notice: Notice) -> str | None:
    release = _release_of(notice)
    return f"/staff/releases/{release.product.slug}/{release.version}/" if release is not None else None


def _downloaders(release_id: int) -> outbox.Audience:
    """Everybody who is known to have downloaded a build of the release."""
    took = sa.select(Download.user_id).join(Build, Build.id == Download.build_id).where(Build.release_id == release_id)
    return sa.select(User.id, User.email, User.name).where(User.id.in_(took))


def _context(release: Release, *, test: bool = False) -> dict[str, Any]:
    context = {"release_id": release.id, "title": f"{release.product.name} {release.version}"}
    return {**context, "test": True} if test else context


def _release_of(notice: Notice) -> Release | None:
    return db.session.get(Release, notice.context["release_id"])
