"""The ledger of downloads: who took which build, as one entry however often it was resumed.

A download is open for a day after its last request, or for ten minutes after the portal itself has sent every byte. While it is
open, all requests of the same person for the same build under the same contract meet in its row. The minutes are needed since
what was sent may lie between here and there: a client that is cut off then, or has ten connections, asks again for some of it.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.database import db, insert
from portal.releases.models import Build, Download
from portal.web.ranges import Span, covers, merge

OPEN_FOR = timedelta(hours=24)
SECOND_THOUGHTS = timedelta(minutes=10)


def record(build_id: int, user_id: int, contract_id: int | None, byte_range: Span, now: datetime) -> int:
    """Note that a range of a build was granted to a person, and return the id of the download it belongs to.

    `contract_id` is None when it was taken under no contract: by staff, or a stable build that any customer may have.
    """
    key = f"{build_id}:{user_id}:{contract_id or '-'}"
    over = sa.or_(Download.last_request_at < now - OPEN_FOR, Download.completed_at < now - SECOND_THOUGHTS)
    db.session.execute(sa.update(Download).where(Download.open_key == key, over).values(open_key=None))
    download = _open(key, build_id, user_id, contract_id, now)
    download.ranges = _added(download.ranges, byte_range)
    download.last_request_at = max(download.last_request_at, now)
    db.session.flush()
    return download.id


def _open(key: str, build_id: int, user_id: int, contract_id: int | None, now: datetime) -> Download:
    """Return the open download of this key, locked until the transaction ends; a new one where there is none."""
    new = {"build_id": build_id, "user_id": user_id, "contract_id": contract_id, "started_at": now, "last_request_at": now}
    found = None
    while found is None:  # somebody may close the one we met while we wait for its lock
        db.session.execute(
            insert(Download).values(**new, open_key=key, ranges=[], sent=[]).on_conflict_do_nothing(index_elements=["open_key"])
        )
        found = db.session.scalar(
            sa.select(Download).where(Download.open_key == key).with_for_update().execution_options(populate_existing=True)
        )
    return found


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
