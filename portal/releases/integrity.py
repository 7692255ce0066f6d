"""Whether the stored bytes of builds are still those that were uploaded. What is not is marked, not served, and told to staff."""

import enum
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager

from portal import audit
from portal.account.models import Role, User
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Kind, register
from portal.notices.models import Notice
from portal.products.catalog import find_product
from portal.products.models import Product
from portal.releases.catalog import find_release
from portal.releases.models import Build, Release
from portal.storage import Missing, store

DAMAGED = "build_damaged"


class State(enum.StrEnum):
    """What was found in storage."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True)
class Subject:
    """A build to be examined, in plain values: no database connection is held while its bytes are read."""

    build_id: int
    product: str
    version: str
    filename: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Examination:
    """What was found of a build; `blake2b` is the digest that signatures are over, of a whole one."""

    subject: Subject
    state: State
    blake2b: str | None = None


def subjects(product_slug: str | None = None, version: str | None = None) -> list[list[Subject]]:
    """Return all builds, of one product, or of one release of it, in whatever state: a list for each release that has any.

    Raises NotFound for an unknown product or release.
    """
    statement = (
        sa.select(Build)
        .join(Release, Release.id == Build.release_id)
        .join(Product, Product.id == Release.product_id)
        .options(contains_eager(Build.release).contains_eager(Release.product))
        .order_by(Product.slug, Release.version_key.desc(), Build.id)
    )
    if product_slug is not None:
        statement = statement.where(Product.id == find_product(product_slug).id)
    if product_slug is not None and version is not None:
        statement = statement.where(Release.id == find_release(product_slug, version).id)
    by_release: dict[int, list[Subject]] = {}
    for build in db.session.scalars(statement):
        by_release.setdefault(build.release_id, []).append(_subject(build))
    return list(by_release.values())


def examine(subject: Subject, on_bytes: Callable[[int], object]) -> Examination:
    """Read a build's bytes and compare. `on_bytes` is told how many more were read.

    Raises Away if storage does not answer; that says nothing about the bytes.
    """
    sha256, blake2b, size = hashlib.sha256(), hashlib.blake2b(), 0
    try:
        for chunk in store().read(subject.sha256):
            sha256.update(chunk)
            blake2b.update(chunk)
            size += len(chunk)
            on_bytes(len(chunk))
    except Missing:
        return Examination(subject, State.MISSING)
    except OSError:  # the disk cannot read them any more
        return Examination(subject, State.DAMAGED)
    if (sha256.hexdigest(), size) != (subject.sha256, subject.size):
        return Examination(subject, State.DAMAGED)
    return Examination(subject, State.WHOLE, blake2b.hexdigest())


def settle(examinations: list[Examination], *, now: datetime) -> None:
    """Write down what was found of the builds of one release: mark what is damaged, heal what is whole again, tell staff of the new.

    A build that was removed in the meantime is passed over. Nobody is told twice of the same damage.
    """
    found = {examination.subject.build_id: examination for examination in examinations}
    statement = sa.select(Build).where(Build.id.in_(found)).order_by(Build.id).with_for_update()
    builds = list(db.session.scalars(statement.execution_options(populate_existing=True)))
    new = [build for build in builds if _mark(build, found[build.id], now)]
    db.session.flush()
    if new:
        _tell_staff(new[0].release, {build.filename: found[build.id].state for build in new}, now)


def note_missing(build_id: int, *, now: datetime) -> None:
    """Write down, as `settle` does, that the bytes of a build were not there, or not all of them, when somebody asked for them."""
    build = db.session.get(Build, build_id)
    if build is not None:
        settle([Examination(_subject(build), State.MISSING)], now=now)


def damaged() -> list[Release]:
    """Return the releases that have a damaged build, with their builds, the newest damage first."""
    newest = sa.select(Build.release_id, sa.func.max(Build.damaged_at).label("at")).where(Build.damaged_at.is_not(None))
    newest_at = newest.group_by(Build.release_id).subquery()
    statement = sa.select(Release).join(newest_at, newest_at.c.release_id == Release.id).order_by(newest_at.c.at.desc(), Release.id)
    return list(db.session.scalars(statement.options(sa.orm.selectinload(Release.builds))))


def register_kinds() -> None:
    """Make this module's kind of notice known."""
    register(Kind(DAMAGED, label="damaged build", shared=_describe, staff_path=_staff_path))


def _subject(build: Build) -> Subject:
    release = build.release
    return Subject(build.id, release.product.slug, release.version, build.filename, build.sha256, build.size)


def _mark(build: Build, examination: Examination, now: datetime) -> bool:
    """Say whether a build is newly damaged."""
    was_damaged = build.damaged_at is not None
    is_damaged = examination.state is not State.WHOLE
    if not is_damaged:
        build.damaged_at = None
        build.blake2b = examination.blake2b
    elif not was_damaged:
        build.damaged_at = now
    if was_damaged != is_damaged:
        audit.record(
            "build.damaged" if is_damaged else "build.healed", subject_type="release", subject_id=build.release_id, actor=None, now=now,
            filename=build.filename, sha256=build.sha256, found=examination.state.value,
        )  # fmt: skip
    return is_damaged and not was_damaged


def _tell_staff(release: Release, files: Mapping[str, State], now: datetime) -> None:
    publishers = sa.select(User.id, User.email, User.name).where(
        User.active.is_(True), User.roles.any(Role.name.in_(("publisher", "admin")))
    )  # fmt: skip
    context = {
        "release_id": release.id,
        "title": f"{release.product.name} {release.version}",
        "files": [{"filename": name, "is_missing": state is State.MISSING} for name, state in files.items()],
    }
    outbox.enqueue(DAMAGED, publishers, context=context, product_id=release.product_id, now=now)


def _describe(notice: Notice) -> Mapping[str, Any]:
    """What stands in the mail was so when the notice was made, whatever became of the release."""
    return {"staff_path": _staff_path(notice), **notice.context}


def _staff_path(notice: Notice) -> str | None:
    release = db.session.get(Release, notice.context["release_id"])
    return f"/staff/releases/{release.product.slug}/{release.version}/" if release is not None else None
