"""The ledger of downloads: who took which build, as one entry however often it was resumed.

A download is open for a day after its last request, or until the portal itself has sent every byte. While it is open, all
requests of the same person for the same build under the same contract meet in its row.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import joinedload

from portal.account.models import Contract, User
from portal.database import db
from portal.releases.models import Build, Download, Release
from portal.web.ranges import Span, covers, merge

OPEN_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Taken:
    """One entry of a release's ledger, with the people in it."""

    download: Download
    person: User
    contract: Contract | None


def record(build_id: int, user_id: int, contract_id: int | None, byte_range: Span, now: datetime) -> int:
    """Note that a range of a build was granted to a person, and return the id of the download it belongs to.

    `contract_id` is None when it was taken under no contract: by staff, or a stable build that any customer may have.
    """
    key = f"{build_id}:{user_id}:{contract_id or '-'}"
    db.session.execute(sa.update(Download).where(Download.open_key == key, Download.last_request_at < now - OPEN_FOR).values(open_key=None))
    download = _open(key, build_id, user_id, contract_id, now)
    download.ranges = _added(download.ranges, byte_range)
    download.last_request_at = max(download.last_request_at, now)
    db.session.flush()
    return download.id


def _open(key: str, build_id: int, user_id: int, contract_id: int | None, now: datetime) -> Download:
    """Return the open download of this key, locked until the transaction ends; a new one where there is none."""
    insert = postgresql.insert if db.engine.dialect.name == "postgresql" else sqlite.insert
    new = {"build_id": build_id, "user_id": user_id, "contract_id": contract_id, "started_at": now, "last_request_at": now}
    found = None
    while found is None:  # somebody may complete, and so close, the one we met while we wait for its lock
        db.session.execute(
            insert(Download).values(**new, open_key=key, ranges=[], sent=[]).on_conflict_do_nothing(index_elements=["open_key"])
        )
        found = db.session.scalar(
            sa.select(Download).where(Download.open_key == key).with_for_update().execution_options(populate_existing=True)
        )
    return found


def note_sent(download_id: int, byte_range: Span, now: datetime) -> None:
    """Note which bytes the portal itself has sent. With the last missing one the download is complete, and closed."""
    download = db.session.scalars(
        sa.select(Download).where(Download.id == download_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    download.sent = _added(download.sent, byte_range)
    size = db.session.scalar(sa.select(Build.size).where(Build.id == download.build_id))
    if download.completed_at is None and size is not None and covers([Span(*pair) for pair in download.sent], size):
        download.completed_at = now
        download.open_key = None
    db.session.flush()


def _added(pairs: list[list[int]], span: Span) -> list[list[int]]:
    return [[one.first, one.last] for one in merge([*(Span(*pair) for pair in pairs), span])]


def downloads_of(person: User, limit: int = 20) -> list[Download]:
    """Return the person's latest downloads, newest first, each with its build, release and product."""
    return list(
        db.session.scalars(
            sa.select(Download)
            .where(Download.user_id == person.id)
            .options(joinedload(Download.build).joinedload(Build.release).joinedload(Release.product))
            .order_by(Download.id.desc())
            .limit(limit)
        )
    )


def downloaded_by(release: Release) -> list[Taken]:
    """Return who took a build of `release`, newest first; a person stands there once per download."""
    rows = db.session.execute(
        sa.select(Download, User, Contract)
        .join(Build, Build.id == Download.build_id)
        .join(User, User.id == Download.user_id)
        .outerjoin(Contract, Contract.id == Download.contract_id)
        .where(Build.release_id == release.id)
        .options(joinedload(Download.build), joinedload(Contract.organization))
        .order_by(Download.id.desc())
    )
    return [Taken(download, person, contract) for download, person, contract in rows]


def downloaders(release_id: int) -> sa.Select[int | None]:
    """Select the ids of the people who took any build of a release: the audience of news about its withdrawal."""
    return (
        sa.select(Download.user_id)
        .join(Build, Build.id == Download.build_id)
        .where(Build.release_id == release_id, Download.user_id.is_not(None))
        .distinct()
    )
