"""The ledger of downloads: who took which build, as one entry however often it was resumed.

A download is open for a day after its last request, or for ten minutes after the portal itself has sent every byte. While it is
open, all requests of the same person for the same build under the same contract meet in its row. The minutes are needed since
what was sent may lie between here and there: a client that is cut off then, or has ten connections, asks again for some of it.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from portal.account.models import Contract, User
from portal.database import db, insert
from portal.releases.models import Build, Download, Release, ReleaseState
from portal.web.ranges import Span, covers, merge

OPEN_FOR = timedelta(hours=24)
SECOND_THOUGHTS = timedelta(minutes=10)


def record(build_id: int, user_id: int, contract_id: int | None, byte_range: Span, now: datetime, *, address: str | None = None) -> int:
    """Note that a range of a build was granted to a person, and return the id of the download it belongs to.

    `contract_id` is None when it was taken under no contract: by staff, or a stable build that any customer may have. `address` is
    the network address it was asked for from; that of the first request is kept.
    """
    download = _open(build_id, user_id, contract_id, now, address)
    download.ranges = _added(download.ranges, byte_range)
    download.last_request_at = max(download.last_request_at, now)
    db.session.flush()
    return download.id


# Both built once, as each range of a download asks them.
_STANDING = (
    sa.select(Release.state, Release.withdrawn_reason)
    .join(Build, Build.release_id == Release.id)
    .where(Build.id == sa.bindparam("build_id"))
    .with_for_update(read=True, key_share=True, of=Release)
)
_OPEN = sa.select(Download).where(Download.open_key == sa.bindparam("key")).with_for_update().execution_options(populate_existing=True)


def withdrawn_meanwhile(build_id: int) -> str | None:
    """Return the reason if the build's release was withdrawn, None while it stands; then it stands until the transaction ends.

    So either a download is entered before its release is withdrawn, and its person is told, or there is no download.
    """
    standing = db.session.execute(_STANDING, {"build_id": build_id}).one()
    return (standing.withdrawn_reason or "") if standing.state is ReleaseState.WITHDRAWN else None


def _open(build_id: int, user_id: int, contract_id: int | None, now: datetime, address: str | None) -> Download:
    """Return the open download of these, locked until the transaction ends; a new one where there is none."""
    key = f"{build_id}:{user_id}:{contract_id or '-'}"
    times = {"started_at": now, "last_request_at": now}
    new = {"build_id": build_id, "user_id": user_id, "contract_id": contract_id, "address": address, **times}
    while (found := db.session.scalar(_OPEN, {"key": key})) is None or _is_over(found, now):
        if found is not None:
            found.open_key = None
            db.session.flush()
        # Somebody else may be faster, and that one be closed again before we have it.
        db.session.execute(
            insert(Download).values(**new, open_key=key, ranges=[], sent=[]).on_conflict_do_nothing(index_elements=["open_key"])
        )
    return found


def _is_over(download: Download, now: datetime) -> bool:
    if download.completed_at is not None and download.completed_at < now - SECOND_THOUGHTS:
        return True
    return download.last_request_at < now - OPEN_FOR


def note_sent(download_id: int, byte_range: Span, now: datetime) -> None:
    """Note which bytes the portal itself has sent. With the last missing one the download is complete."""
    download = db.session.scalars(
        sa.select(Download).where(Download.id == download_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    download.sent = _added(download.sent, byte_range)
    size = db.session.scalar(sa.select(Build.size).where(Build.id == download.build_id))
    if download.completed_at is None and size is not None and covers([Span(*pair) for pair in download.sent], size):
        download.completed_at = now
    db.session.flush()


def _added(pairs: list[list[int]], span: Span) -> list[list[int]]:
    return [[one.first, one.last] for one in merge([*(Span(*pair) for pair in pairs), span])]


class Taken(NamedTuple):
    """A download as the ledger has it. `email` is None for a download that nobody's account made."""

    filename: str
    email: str | None
    contract: str | None
    started_at: datetime
    completed_at: datetime | None
    address: str | None


def of_release(release_id: int) -> list[Taken]:
    """Return the downloads of a release, the latest first."""
    rows = db.session.execute(
        sa.select(Build.filename, User.email, Contract.number, Download.started_at, Download.completed_at, Download.address)
        .join(Build, Build.id == Download.build_id)
        .outerjoin(User, User.id == Download.user_id)
        .outerjoin(Contract, Contract.id == Download.contract_id)
        .where(Build.release_id == release_id)
        .order_by(Download.id.desc())
    )
    return [Taken(*row) for row in rows]
