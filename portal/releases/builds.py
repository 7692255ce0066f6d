"""The files of a release. They are put in and taken out while it is a draft; published bytes never change."""

import unicodedata
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal import audit, signatures
from portal.account.models import User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound, PortalError
from portal.products.models import Product
from portal.releases.drafts import lock_release
from portal.releases.filenames import check_filename
from portal.releases.models import Build, BuildKind, Release, ReleaseState
from portal.storage import Stored, store
from portal.text import clean_line

# How long bytes may lie in storage before the row that names them is committed; an upload takes minutes.
GRACE = timedelta(days=1)

_kept_by_others: list[Callable[[], Collection[str]]] = []


def add_build(
    release_id: int,
    filename: str,
    stored: Stored,
    *,
    kind: BuildKind = BuildKind.INSTALLER,
    platform: str = "",
    architecture: str = "",
    blake2b: str | None = None,
    signature: str | None = None,
    actor: User | None,
    now: datetime,
) -> Build:
    """Add a stored file to a draft. `blake2b` is the digest that `signature`, where there is one, is over.

    Raises Invalid for an unsafe name, platform or architecture, or a wrong signature; Conflict if the release is no draft, or has
    a build of that name (in whatever case: on many systems one would overwrite the other), or its bytes were swept away in
    between.
    """
    filename = check_filename(filename)
    platform = clean_line(platform, "platform", 80, required=False)
    architecture = clean_line(architecture, "architecture", 40, required=False)
    release = lock_release(release_id)
    refuse_unless_open(filename, release.state is ReleaseState.DRAFT, {build.filename for build in release.builds})
    if signature is not None:
        signature = check_signature(release.product, filename, signature.encode(), blake2b)
    build = Build(
        release_id=release.id, filename=filename, kind=kind, platform=platform, architecture=architecture,
        size=stored.size, sha256=stored.sha256, blake2b=blake2b, signature=signature,
        created_at=now, created_by_id=actor.id if actor else None,
    )  # fmt: skip
    db.session.add(build)
    _touch(release)
    if not store().exists(stored.sha256):
        raise Conflict("The file is no longer in storage. Upload it again.")
    audit.record(
        "build.added", subject_type="release", subject_id=release.id, actor=actor, now=now,
        filename=filename, size=stored.size, sha256=stored.sha256, signed=signature is not None,
    )  # fmt: skip
    return build


def sign_build(release_id: int, build_id: int, signature: bytes, *, actor: User | None, now: datetime) -> Build:
    """Give a build of a draft its signature, in place of an earlier one.

    Raises NotFound; Conflict if the release is no draft; Invalid, saying why, for a signature that is wrong.
    """
    release = lock_release(release_id)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict("This release is published; its signatures cannot change.")
    build = _build_of(release, build_id)
    build.signature = check_signature(release.product, build.filename, signature, build.blake2b)
    _touch(release)
    audit.record(
        "build.signed", subject_type="release", subject_id=release.id, actor=actor, now=now, filename=build.filename, sha256=build.sha256
    )  # fmt: skip
    return build


def remove_build(release_id: int, build_id: int, *, actor: User | None, now: datetime) -> None:
    """Take a build out of a draft. Raises NotFound, or Conflict if the release is no draft."""
    release = lock_release(release_id)
    if release.state is not ReleaseState.DRAFT:
        raise Conflict("This release is published; its builds cannot change. Withdraw it, and publish a new version.")
    build = _build_of(release, build_id)
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
        raise Conflict("This release is published or scheduled; its builds cannot change. Make a new version, or a draft of it again.")
    if filename.casefold() in {name.casefold() for name in taken}:
        raise Conflict(f"This release already has a build called {filename}. Remove that one first, or rename the file.")


def check_signature(product: Product, filename: str, signature: bytes, blake2b: str | None) -> str:
    """Return a file's signature, cleaned, if it is right by the product's key.

    Raises Invalid, saying why not; Conflict if that cannot be known.
    """
    cleaned = signatures.clean_signature(signature)
    if product.signing_key is None:
        raise Invalid(
            f"{product.name} has no signing key, so no signature can be checked. Set the key on the product's page first.", "signature"
        )
    if blake2b is None:
        raise Conflict(f"{filename} was stored before there were signatures. Run `portal release verify` once, then sign it.")
    signatures.verify(cleaned, product.signing_key, blake2b, filename)
    return cleaned


def is_signed(build: Build, product: Product) -> bool:
    """Say whether a build has a signature that is right by the product's key as it is now."""
    try:
        check_signature(product, build.filename, (build.signature or "").encode(), build.blake2b)
    except PortalError:
        return False
    return True


def obstacle_to_publishing(release: Release) -> str | None:
    """Say what is wrong with a draft's builds, None if they can be published."""
    if not release.builds:
        return "Add a build first. A release without a file cannot be published."
    damaged = [build.filename for build in release.builds if build.damaged_at is not None]
    if damaged:
        return f"Damaged in storage: {', '.join(damaged)}. Remove what is damaged and upload it again."
    product = release.product
    if product.signing_key is None:
        return None
    unsigned = [build.filename for build in release.builds if build.signature is None]
    wrong = [build.filename for build in release.builds if build.signature is not None and not is_signed(build, product)]
    found = [("Without a signature: ", unsigned), ("Signed, but not right by the product's key: ", wrong)]
    named = " ".join(f"{what}{', '.join(names)}." for what, names in found if names)
    return f"Each build of {product.name} must be signed. {named}" if named else None


def find_file(release: Release, filename: str) -> tuple[Build, bool]:
    """Return the build that a file of the release belongs to, and whether the file is its signature. Raises NotFound."""
    if not filename.endswith(signatures.ENDING):
        return find_build(release, filename), False
    build = find_build(release, filename.removesuffix(signatures.ENDING))
    if build.signature is None:
        raise NotFound("This build is not signed.")
    return build, True


def on_kept(named: Callable[[], Collection[str]]) -> None:
    """Let somebody else have files in the same storage: `named` returns the digests that `sweep_storage` leaves there."""
    if named not in _kept_by_others:
        _kept_by_others.append(named)


def sweep_uploads(now: datetime) -> int:
    """Remove what killed processes left of uploads, a day later; return how many files."""
    return store().sweep(now - GRACE)


def sweep_storage(now: datetime) -> int:
    """Remove bytes that no build and nothing else names, a day later, beside what `sweep_uploads` removes; return how many files.

    This is for a command, never for a timer: run on another database than the builds belong to, it would remove them all.
    Raises Conflict if no build is known, which says just that.
    """
    kept = set(db.session.scalars(sa.select(Build.sha256)))
    if not kept:
        raise Conflict("This database knows no build, so nothing was removed. Check DATABASE_URL and STORAGE_URL.")
    kept = kept.union(*(named() for named in _kept_by_others))
    return sweep_uploads(now) + store().remove_orphans(kept, now - GRACE)


def _build_of(release: Release, build_id: int) -> Build:
    build = next((build for build in release.builds if build.id == build_id), None)
    if build is None:
        raise NotFound("There is no such build.")
    return build


def _touch(release: Release) -> None:
    """A draft with other builds is another draft: whoever is about to publish it is shown the new one first."""
    release.revision += 1
    db.session.flush()
    db.session.expire(release, ["builds"])
