"""What staff do to a whole notice: stop it, pause it, resume it, try again what did not arrive."""

from datetime import datetime

import sqlalchemy as sa

from portal.database import db
from portal.notices.models import Delivery, DeliveryState, DomainPause, Notice
from portal.notices.outbox import GIVE_UP_AFTER, not_before, run_update, wake_after_commit
from portal.notices.selection import EVERYBODY, Selection
from portal.notices.subscriptions import users

CANCELLED = "cancelled"
WAITING = (DeliveryState.QUEUED, DeliveryState.DEFERRED)
REASON_LENGTH = 300


def cancel(notice_id: int, *, now: datetime) -> int:
    """Stop a notice: what waits is skipped. Returns how many that were. Cancelling twice keeps the first instant.

    What a worker holds at this moment is asked about again before it is sent.
    """
    run_update(sa.update(Notice).where(Notice.id == notice_id, Notice.cancelled_at.is_(None)).values(cancelled_at=now))
    return run_update(
        sa.update(Delivery)
        .where(Delivery.notice_id == notice_id, Delivery.state.in_(WAITING))
        .values(state=DeliveryState.SKIPPED, reason=CANCELLED, settled_at=now, next_attempt_at=None)
    )


def pause(notice_id: int, *, now: datetime, reason: str | None = None) -> int:
    """Send no more of a notice until it is resumed. Returns how many deliveries wait. A second pause changes nothing.

    `reason` says why, where it was not a person who paused it.
    """
    running = Notice.paused_at.is_(None), Notice.cancelled_at.is_(None)
    run_update(
        sa.update(Notice)
        .where(Notice.id == notice_id, *running)
        .values(paused_at=now, pause_reason=reason[:REASON_LENGTH] if reason else None)
    )
    return run_update(
        sa.update(Delivery).where(Delivery.notice_id == notice_id, Delivery.state.in_(WAITING)).values(next_attempt_at=not_before(now))
    )


def resume(notice_id: int, *, now: datetime) -> int:
    """Let a paused notice go on, with 72 hours from now. Returns how many deliveries are due again."""
    run_update(sa.update(Notice).where(Notice.id == notice_id).values(paused_at=None, pause_reason=None))
    count = run_update(
        sa.update(Delivery)
        .where(Delivery.notice_id == notice_id, Delivery.state.in_(WAITING), Delivery.next_attempt_at.is_(None))
        .values(next_attempt_at=now, give_up_at=now + GIVE_UP_AFTER)
    )
    if count:
        wake_after_commit()
    return count


def retry(notice_id: int, *, now: datetime, among: Selection = EVERYBODY) -> int:
    """Try again now, with 72 hours to go, what `among` names of a notice's unfinished or failed deliveries. Returns how many.

    Their domains are left alone no longer: whoever asks for this knows more than the pause does. Whoever has another address by
    now gets the mail there.
    """
    met = sa.and_(Delivery.notice_id == notice_id, among.retryable())
    here = sa.select(Delivery.id, users.c.email).join(users, users.c.id == Delivery.user_id)
    moved = db.session.execute(here.where(met, users.c.email != Delivery.address)).all()
    run_update(sa.delete(DomainPause).where(DomainPause.domain.in_(sa.select(Delivery.domain).where(met))))
    count = run_update(
        sa.update(Delivery)
        .where(met)
        .values(
            state=DeliveryState.QUEUED, attempts=0, reason=None, settled_at=None,
            next_attempt_at=not_before(now), give_up_at=now + GIVE_UP_AFTER,
        )
    )  # fmt: skip
    for delivery_id, address in moved:
        run_update(sa.update(Delivery).where(Delivery.id == delivery_id).values(address=address, domain=address.rpartition("@")[2]))
    if count:
        wake_after_commit()
    return count
