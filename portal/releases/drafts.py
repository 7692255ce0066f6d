"""Releases before they are published, and what may be corrected afterwards."""

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from portal import audit
from portal.account.models import User
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db, is_violation
from portal.errors import Conflict, Invalid, NotFound
from portal.products.models import Product
from portal.releases import followups, versions
from portal.releases.models import Channel, Kind, Release, ReleaseState
from portal.text import clean_line, clean_text

LONGEST_TEXT = 100_000
LONGEST_SUMMARY = 300


@dataclass(frozen=True)
class Words:
    """What a release says: one line, and three texts in Markdown."""

    summary: str = ""
    notes: str = ""
    known_issues: str = ""
    what_to_test: str = ""

    def cleaned(self) -> "Words":
        """Raises Invalid, naming the field, for text that is too long or holds control characters."""
        return Words(
            summary=clean_line(self.summary, "summary", LONGEST_SUMMARY, required=False),
            notes=clean_text(self.notes, "notes", LONGEST_TEXT, required=False),
            known_issues=clean_text(self.known_issues, "known_issues", LONGEST_TEXT, required=False),
            what_to_test=clean_text(self.what_to_test, "what_to_test", LONGEST_TEXT, required=False),
        )


def create_release(
    product: Product,
    version: str,
    channel: Channel,
    *,
    summary: str = "",
    notes: str = "",
    known_issues: str = "",
    what_to_test: str = "",
    kind: Kind | None = None,
    expires_on: date | None = None,
    ask_if_lower: bool = False,
    actor: User | None,
    now: datetime,
) -> Release:
    """Make a draft. `kind` is proposed from the version unless it is given. `expires_on`: the last day a beta runs.

    Raises Invalid, naming the field: a version that is none or exists already (in whatever spelling), a beta version on the
    stable channel or a final one on the beta channel, an expiry in the past, text that is too long. With `ask_if_lower` also, as
    field `lower`, a version below the newest of its channel: somebody has to say that this is meant.
    """
    release = Release(product_id=product.id, created_at=now, created_by_id=actor.id if actor else None)
    _set_identity(release, version, channel, kind, expires_on, now)
    _refuse_version(release, ask_if_lower=ask_if_lower)
    _set_words(release, Words(summary, notes, known_issues, what_to_test).cleaned())
    db.session.add(release)
    _flush_version(release)
    audit.record(
        "release.created", subject_type="release", subject_id=release.id, actor=actor, now=now,
        product=product.slug, version=release.version, channel=release.channel.value,
    )  # fmt: skip
    return release


def edit_draft(
    release_id: int,
    *,
    revision: int,
    version: str,
    channel: Channel,
    kind: Kind | None,
    expires_on: date | None,
    words: Words,
    ask_if_lower: bool = False,
    actor: User | None,
    now: datetime,
) -> Release:
    """Change everything of a draft but its product.

    `revision` is the one the editor read. Raises Conflict if somebody saved in between or the release is no draft any more,
    and what `create_release` raises.
    """
    release = _open_for_editing(release_id, revision)
    _refuse_scheduled(release)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict("This release was published in the meantime. Only its texts can be corrected now.")
    before, audited = (release.version_key, release.channel), _audited(release)
    with db.session.no_autoflush:
        _set_identity(release, version, channel, kind, expires_on, now)
        _refuse_version(release, ask_if_lower=ask_if_lower and (release.version_key, release.channel) != before)
    _set_words(release, words.cleaned())
    release.edited_at = now
    release.revision += 1
    _flush_version(release)
    audit.record(
        "release.edited", subject_type="release", subject_id=release.id, actor=actor, now=now,
        version=release.version, changes=audit.changes(audited, _audited(release)),
    )  # fmt: skip
    return release


def _audited(release: Release) -> dict[str, object]:
    """What the audit log tells before and after an edit."""
    names = ("version", "channel", "kind", "expires_on", *Words.__dataclass_fields__)
    return {name: getattr(release, name) for name in names}


def correct_words(release_id: int, *, revision: int, words: Words, actor: User | None, now: datetime) -> Release:
    """Correct what a published release says. Nobody is mailed again; the page shows when it was corrected.

    Raises Conflict as `edit_draft` does, and for a draft.
    """
    release = _open_for_editing(release_id, revision)
    _refuse_scheduled(release)
    if release.state is ReleaseState.DRAFT:
        raise Conflict("This release is still a draft. Edit it instead.")
    before, audited = _words_of(release), _audited(release)
    after = words.cleaned()
    if after == before:
        return release
    _set_words(release, after)
    release.notes_corrected_at = now
    release.revision += 1
    changed = [name for name in Words.__dataclass_fields__ if getattr(before, name) != getattr(after, name)]
    audit.record(
        "release.corrected", subject_type="release", subject_id=release.id, actor=actor, now=now,
        changed=changed, changes=audit.changes(audited, _audited(release)),
    )  # fmt: skip
    db.session.flush()
    return release


def discard(release_id: int, *, actor: User | None, now: datetime) -> None:
    """Remove a draft and its builds for good; their bytes go with the next sweep of the storage.

    Raises Conflict if it is no draft any more.
    """
    release = lock_release(release_id)
    _refuse_scheduled(release)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict("This release is published. It can be withdrawn, but not discarded.")
    audit.record(
        "release.discarded", subject_type="release", subject_id=release.id, actor=actor, now=now,
        product=release.product.slug, version=release.version,
    )  # fmt: skip
    for follow_up in followups.discarded:
        follow_up(release.id)
    for build in release.builds:
        db.session.delete(build)
    db.session.flush()
    db.session.delete(release)
    db.session.flush()


def lock_release(release_id: int) -> Release:
    """Return the release, read afresh and locked until the transaction ends, so that acts upon it happen one after another.

    Raises NotFound.
    """
    release = db.session.scalar(
        sa.select(Release).where(Release.id == release_id).with_for_update(of=Release).execution_options(populate_existing=True)
    )
    if release is None:
        raise NotFound("There is no such release.")
    return release


def _open_for_editing(release_id: int, revision: int) -> Release:
    release = lock_release(release_id)
    if release.revision != revision:
        raise Conflict("Somebody else saved this release after you opened it. Look at what they saved, then save again.")
    return release


def _refuse_scheduled(release: Release) -> None:
    """What was scheduled goes out as it was looked at."""
    if release.state is ReleaseState.SCHEDULED:
        raise Conflict("This release is scheduled. Make it a draft again first.")


def _set_identity(
    release: Release, version: str, channel: Channel, kind: Kind | None, expires_on: date | None, now: datetime
) -> None:  # fmt: skip
    parsed = versions.parse(version)
    if parsed.is_prerelease and channel is Channel.STABLE:
        raise Invalid(f"{parsed.normalised} is a beta version. Choose the beta channel, or take the beta part off.", "version")
    if expires_on is not None and expires_on < civil_date(now, current_settings().default_time_zone) and expires_on != release.expires_on:
        raise Invalid("This day has passed. Choose a later one, or leave it empty.", "expires_on")
    release.kind = kind or versions.propose_kind(previous_version(release.product_id, parsed.key), parsed.normalised)
    release.version, release.version_key, release.channel = parsed.normalised, parsed.key, channel
    release.expires_on = expires_on if channel is Channel.BETA else None


def _refuse_version(release: Release, *, ask_if_lower: bool) -> None:
    """Raise Invalid for a version that is taken, and for a final one on the beta channel: it would leave none for the final."""
    taken = sa.select(Release.version).where(Release.product_id == release.product_id, Release.version_key == release.version_key)
    with db.session.no_autoflush:
        found = db.session.scalar(taken.where(Release.id != (release.id or 0)))
    if found is not None:
        raise _taken(found)
    if release.channel is Channel.BETA and not versions.parse(release.version).is_prerelease:
        raise Invalid(
            f"{release.version} is the version of a final release; a beta that takes it leaves none for the final. "
            f"Write which beta it is, like {release.version}b1.",
            "version",
        )
    if ask_if_lower:
        _refuse_lower(release)


def _refuse_lower(release: Release) -> None:
    """Raise Invalid for a version below the newest there is of its channel, published or not."""
    newest = db.session.scalar(
        sa.select(Release.version)
        .where(
            Release.product_id == release.product_id,
            Release.channel == release.channel,
            Release.id != (release.id or 0),
            Release.version_key > release.version_key,
        )
        .order_by(Release.version_key.desc())
        .limit(1)
    )
    if newest is not None:
        raise Invalid(
            f"{release.version} is lower than {newest}, the newest {release.channel.value} version there is. {newest} stays the newest "
            "on every page, and people are mailed about the lower one all the same. Say that this is meant, or correct the version.",
            "lower",
        )


def previous_version(product_id: int, version_key: str) -> str | None:
    """Return the highest published stable version below `version_key`, None if there is none."""
    return db.session.scalar(
        sa.select(Release.version)
        .where(
            Release.product_id == product_id,
            Release.channel == Channel.STABLE,
            Release.state == ReleaseState.PUBLISHED,
            Release.version_key < version_key,
        )
        .order_by(Release.version_key.desc())
        .limit(1)
    )


def _set_words(release: Release, words: Words) -> None:
    release.summary, release.notes = words.summary, words.notes
    release.known_issues, release.what_to_test = words.known_issues, words.what_to_test


def _words_of(release: Release) -> Words:
    return Words(release.summary, release.notes, release.known_issues, release.what_to_test)


def _flush_version(release: Release) -> None:
    """Write the release; the database decides whether its version is free."""
    try:
        db.session.flush()
    except sa.exc.IntegrityError as error:
        if is_violation(error, "uq_releases_product_id_version_key", "releases.product_id", "releases.version_key"):
            raise _taken(release.version) from None
        raise


def _taken(version: str) -> Invalid:
    """`version` as the other release spells it."""
    return Invalid(f"There is already a release {version} of this product, in whatever spelling.", "version")
