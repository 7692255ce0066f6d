"""Domains that defer our mail are paused alone: mail to all others goes on.

A domain is paused when several tries in a row were deferred there, for a time that doubles with each pause in a row. The
first mail it takes again ends the matter.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.database import db, insert
from portal.notices.models import Delivery, DomainPause
from portal.notices.outbox import retry_delay, run_update

# So many deferrals in a row, with no mail taken in between, are the domain's doing and not chance.
DEFERRALS = 5
LONGEST_PAUSE = timedelta(hours=2)
# A temporary refusal of one address or one mailbox (RFC 3463, X.1 and X.2) says nothing about the domain.
_ONE_MAILBOX = re.compile(r"4\d\d 4\.[12]\.")
# The delay of this many tries of one mail: a pause begins at a minute.
_HEAD_START = 2


def is_deferral(reply: str | None) -> bool:
    """Say whether an answer of the mail server puts off the whole domain, as far as one can tell."""
    return reply is not None and reply.startswith("4") and not _ONE_MAILBOX.match(reply)


def paused() -> Mapping[str, datetime]:
    """Return the domains that deferred last, each with the end of its pause, which may have passed."""
    return dict(db.session.execute(sa.select(DomainPause.domain, DomainPause.until)).all())


def pause(domain: str, reply: str | None, now: datetime) -> datetime:
    """Try nothing at a domain for a while, longer each time. Returns until when.

    What somebody waits for is not held back: it has its own delay.
    """
    pauses = (db.session.scalar(sa.select(DomainPause.pauses).where(DomainPause.domain == domain)) or 0) + 1
    until = now + retry_delay(pauses + _HEAD_START, LONGEST_PAUSE)
    values = {"until": until, "pauses": pauses, "reply": reply}
    statement = insert(DomainPause).values(domain=domain, **values)
    db.session.execute(statement.on_conflict_do_update(index_elements=["domain"], set_=values))
    run_update(
        sa.update(Delivery)
        .where(Delivery.urgent.is_(False), Delivery.next_attempt_at < until, Delivery.domain == domain)
        .values(next_attempt_at=until)
    )
    return until


def forgive(domains: Iterable[str]) -> None:
    """Forget the pauses of domains that took a mail."""
    run_update(sa.delete(DomainPause).where(DomainPause.domain.in_(list(domains))))
