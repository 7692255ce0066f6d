"""Domains that defer our mail are paused alone: mail to all others goes on.

A domain is paused when several tries in a row were deferred there, for a time that doubles with each pause in a row. The
first mail it takes again ends the matter. Where none is taken for 72 hours, what has waited as long is given up.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal.database import db, insert
from portal.notices.models import Delivery, DeliveryState, DomainPause
from portal.notices.outbox import GIVE_UP_AFTER, run_update
from portal.notices.settling import GIVEN_UP, retry_delay

# So many deferrals in a row, with no mail taken in between, are the domain's doing and not chance.
DEFERRALS = 5
LONGEST_PAUSE = timedelta(hours=2)
# So many pauses in a row take about as long as any mail is tried.
PAUSES_IN_VAIN = GIVE_UP_AFTER // LONGEST_PAUSE
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


def give_up(names: Iterable[str], now: datetime) -> int:
    """Give up what waits since 72 hours for those of these domains that have taken nothing for as long. Returns how many that are.

    When a pause ends, a few mails are tried and speak for all. The others would have to wait until those are given up, group by group.
    """
    in_vain = sa.select(DomainPause.domain).where(DomainPause.domain.in_(list(names)), DomainPause.pauses >= PAUSES_IN_VAIN)
    last_reply = sa.select(DomainPause.reply).where(DomainPause.domain == Delivery.domain).scalar_subquery()
    return run_update(
        sa.update(Delivery)
        .where(Delivery.urgent.is_(False), Delivery.next_attempt_at > now, Delivery.give_up_at <= now, Delivery.domain.in_(in_vain))
        .values(state=DeliveryState.FAILED, reason=GIVEN_UP, reply=last_reply, settled_at=now, next_attempt_at=None)
    )


def forgive(domains: Iterable[str]) -> None:
    """Forget the pauses of domains that took a mail."""
    run_update(sa.delete(DomainPause).where(DomainPause.domain.in_(list(domains))))
