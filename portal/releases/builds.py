"""The files of a release. They are put in and taken out while it is a draft; published bytes never change."""

import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal import audit
from portal.account.models import User
from portal.database import db
from portal.errors import Conflict, NotFound
from portal.releases.drafts import lock_release
from portal.releases.filenames import check_filename
from portal.releases.models import Build, Release, ReleaseState
from portal.storage import Stored, store
from portal.text import clean_line

# How long bytes may lie in storage before the row that names them is committed; an upload takes minutes.
GRACE = timedelta(days=1)


def add_build(
    release_id: int, filename: str, stored: Stored, *, platform: str = "", actor: User | None, now: datetime
) -> Build:  # fmt: skip
    """Add a stored file to a draft.

    Raises Invalid for an unsafe name or platform; Conflict if the release is no draft, or has a build of that name (in
    whatever case: on many systems one would overwrite the other), or its bytes were swept away in between.
    """
    filename = check_filename(filename)
    platform = clean_line(platform, "platform", 80, required=False)
    release = lock_release(release_id)
    refuse_unless_open(filename, release.state is ReleaseState.DRAFT, {build.filename for build in release.builds})
    build = Build(
        release_id=release.id, filename=filename, platform=platform, size=stored.size, sha256=stored.sha256,
        created_at=now, created_by_id=actor.id if actor else None,
    )  # fmt: skip
    db.session.add(build)
    _touch(release)
    if not store().exists(stored.sha256):
        raise Conflict("The file is no longer in storage. Upload it again.")
    audit.record(
        "build.added", subject_type="release", subject_id=release.id, actor=actor, now=now,
        filename=filename, size=stored.size, sha256=stored.sha256,
    )  # fmt: skip
    return build


def remove_build(release_id: int, build_id: int, *, actor: User | None, now: datetime) -> None:
    """Take a build out of a draft. Raises NotFound, or Conflict if the release is no draft."""
    release = lock_release(release_id)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict("This release is published; its builds cannot change. Withdraw it, and publish a new version.")
    build = next((build for build in release.builds if build.id == build_id), None)
    if build is None:
        raise NotFound("There is no such build.")
    audit.record(
        "build.removed", subject_type="release", subject_id=release.id, actor=actor, now=now,
        filename=build.filename, sha256=build.sha256,
    )  # fmt: skip
    db.session.delete(build)
    _touch(release)


def find_build(release: Release, filename: str) -> Build:
    """Return the release's build of this name, in composed form or not. Raises NotFound."""
    name = unicodedata.normalize("NFC", filename)
    build = next((build for build in release.builds if build.filename == name), None)
    if build is None:
        raise NotFound("There is no such build.")
    return build


def refuse_unless_open(filename: str, is_draft: bool, taken: Collection[str]) -> None:
    """Raise Conflict if a release takes no build of this name. Asked before the bytes are read, and again when they are in."""
    if not is_draft:
        raise Conflict("This release is published; its builds cannot change. Make a new version.")
    if filename.casefold() in {name.casefold() for name in taken}:
        raise Conflict(f"This release already has a build called {filename}. Remove that one first, or rename the file.")


def sweep_uploads(now: datetime) -> int:
    """Remove what killed processes left of uploads, a day later; return how many files."""
    return store().sweep(now - GRACE)


def sweep_storage(now: datetime) -> int:
    """Remove bytes that no build names, a day later, beside what `sweep_uploads` removes; return how many files.

    This is for a command, never for a timer: run on another database than the builds belong to, it would remove them all.
    Raises Conflict if no build is known, which says just that.
    """
    kept = set(db.session.scalars(sa.select(Build.sha256)))
    if not kept:
        raise Conflict("This database knows no build, so nothing was removed. Check DATABASE_URL and STORAGE_URL.")
    return sweep_uploads(now) + store().remove_orphans(kept, now - GRACE)


def _touch(release: Release) -> None:
    """A draft with other builds is another draft: whoever is about to publish it is shown the new one first."""
    release.revision += 1
    db.session.flush()
    db.session.expire(release, ["builds"])
