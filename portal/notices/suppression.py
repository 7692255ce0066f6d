"""Addresses that mail must not go to: added when the address turns out to be gone, or by staff; lifted by staff, or by the person
who confirms it anew. Looked up at the second of sending. Addresses are kept in lower case, as people's are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import defer

from portal import audit, tokens
from portal.audit import Actor
from portal.config import current_settings
from portal.database import db, insert
from portal.errors import Conflict, NotFound
from portal.notices.models import Delivery, ErasedSuppression, Notice, Suppression, SuppressionCause
from portal.text import clean_address, clean_line

PAGE = 50
REASON_LENGTH = 200


@dataclass(frozen=True)
class Listed:
    """A suppressed address, and the notice that came back from it, if one did."""

    suppression: Suppression
    notice: Notice | None


@dataclass(frozen=True)
class Page:
    """Some suppressed addresses, and the key before which the next page begins (None at the end)."""

    rows: Sequence[Listed]
    next_key: int | None


def add(
    address: str,
    reason: str,
    *,
    now: datetime,
    cause: SuppressionCause = SuppressionCause.STAFF,
    delivery_id: int | None = None,
    actor: Actor | None = None,
) -> bool:
    """Send no more mail to `address`. `reason` holds the mail server's words, or those of a member of staff, and is cut to fit.

    Returns whether that is new: of an address that is suppressed already, the first reason is kept.
    """
    values = {
        "address": address.lower(),
        "cause": cause,
        "reason": reason[:REASON_LENGTH],
        "delivery_id": delivery_id,
        "created_at": now,
    }
    added = db.session.scalar(insert(Suppression).values(values).on_conflict_do_nothing().returning(Suppression.id))
    if added is None:
        return False
    details = {"address": values["address"], "cause": cause.value, "reason": values["reason"], "delivery_id": delivery_id}
    audit.record("address.suppressed", subject_type="suppression", subject_id=added, actor=actor, now=now, **details)
    return True


def add_by_hand(address: str, reason: str, *, actor: Actor, now: datetime) -> str:
    """Suppress what a member of staff typed, and return the address as it is kept.

    Raises Invalid for what is no address and for a missing or long reason, Conflict for an address that is suppressed already.
    """
    address = clean_address(address, "address")
    reason = clean_line(reason, "reason", REASON_LENGTH)
    if not add(address, reason, actor=actor, now=now):
        raise Conflict(f"No mail goes to {address} already. Search for it in the list.")
    return address


def lift(address: str, *, now: datetime, actor: Actor | None = None) -> bool:
    """Let mail go to `address` again. Returns whether it was suppressed."""
    gone = db.session.execute(
        sa.delete(Suppression)
        .where(Suppression.address == address.lower())
        .returning(Suppression.id, Suppression.address, Suppression.cause, Suppression.reason)
    ).one_or_none()
    if gone is None:
        return False
    details = {"address": gone.address, "cause": gone.cause.value, "reason": gone.reason}
    audit.record("address.suppression_lifted", subject_type="suppression", subject_id=gone.id, actor=actor, now=now, **details)
    return True


def keep_as_hash(address: str, *, now: datetime) -> None:
    """Forget an address, and that no mail goes to it, but for a keyed hash: who is erased must not be mailed again either."""
    gone = db.session.execute(
        sa.delete(Suppression).where(Suppression.address == address.lower()).returning(Suppression.cause)
    ).scalar_one_or_none()  # fmt: skip
    if gone is not None:
        values = {"address_hash": _hash(address), "cause": gone.value, "created_at": now}
        db.session.execute(insert(ErasedSuppression).values(values).on_conflict_do_nothing())


def recall(address: str, *, now: datetime) -> bool:
    """Suppress an address that is typed in anew and was suppressed when its person was erased. Returns whether it was.

    The same statement runs for every address, known or not.
    """
    found = db.session.execute(
        sa.delete(ErasedSuppression).where(ErasedSuppression.address_hash == _hash(address)).returning(ErasedSuppression.cause)
    ).scalar_one_or_none()
    return found is not None and add(address, "No mail went there when its person was erased.", now=now, cause=SuppressionCause(found))


def _hash(address: str) -> str:
    """A keyed hash: without the secret key nobody can try addresses on it (HMAC, RFC 2104)."""
    return tokens.hash_token(tokens.derive_token(current_settings().secret_key, "erased suppression", address.lower()))


def suppressed(addresses: Iterable[str]) -> dict[str, str]:
    """Return those of `addresses` that are suppressed, in lower case, each with the reason. One statement."""
    rows = db.session.execute(
        sa.select(Suppression.address, Suppression.reason).where(Suppression.address.in_({address.lower() for address in addresses}))
    )
    return {row.address: row.reason for row in rows}


def find(address: str) -> Suppression | None:
    """Return why and since when `address` is suppressed, None if it is not."""
    return db.session.scalar(sa.select(Suppression).where(Suppression.address == address.lower()))


def get(suppression_id: int) -> Listed:
    """Return one suppressed address for staff. Raises NotFound: perhaps somebody else has lifted it."""
    row = db.session.execute(_with_notice().where(Suppression.id == suppression_id)).one_or_none()
    if row is None:
        raise NotFound("This address is not suppressed, or not any more.")
    return Listed(*row)


def page(query: str = "", before_id: int | None = None, *, size: int = PAGE) -> Page:
    """Return the suppressed addresses that hold `query`, latest first, by one statement. `before_id` is the page's key."""
    wanted = _with_notice().order_by(Suppression.id.desc()).limit(size + 1)
    if before_id is not None:
        wanted = wanted.where(Suppression.id < before_id)
    if query:
        wanted = wanted.where(Suppression.address.icontains(query, autoescape=True))
    rows = [Listed(*row) for row in db.session.execute(wanted)]
    return Page(rows[:size], rows[size - 1].suppression.id if len(rows) > size else None)


def _with_notice() -> sa.Select[Suppression, Notice | None]:
    return (
        sa.select(Suppression, Notice)
        .outerjoin(Delivery, Delivery.id == Suppression.delivery_id)
        .outerjoin(Notice, Notice.id == Delivery.notice_id)
        .options(defer(Notice.compiled))
    )
