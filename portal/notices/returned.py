"""What becomes of a delivery whose mail came back.

The delivery is known by the signed return path alone, and its own address is the only one that can be suppressed. A bounce counts
for mail that was sent, and once: the same bounce again finds a delivery that is bounced already, and changes nothing, not even
after the address was confirmed anew.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.database import db
from portal.notices import bounces, suppression
from portal.notices.bounce_mails import Bounce, Saying
from portal.notices.models import OPEN_STATES, Delivery, DeliveryState, SuppressionCause
from portal.notices.settling import REPLY_LENGTH
from portal.notices.smtp import deliverable_form

# Mail servers give up within days (RFC 5321, 4.5.4.1). What comes later has lain in somebody's archive, return path and all.
BELIEVED_FOR = timedelta(days=30)
LARGEST_ID = 2**31 - 1
DELAYED = "delayed by a mail server"
ELSEWHERE = "came back from where it was forwarded to"


class Became(enum.StrEnum):
    """What a returned mail changed."""

    SUPPRESSED = "suppressed"
    BOUNCED = "bounced"
    NOTED = "noted"
    IGNORED = "ignored"
    TOO_EARLY = "too early"


@dataclass(frozen=True)
class Outcome:
    """What was done about a returned mail, and why. Nothing was done when it is `TOO_EARLY`: give it to us again later."""

    became: Became
    why: str
    delivery_id: int
    address: str | None = None
    status: str | None = None
    words: str = ""


def addresses_of(delivery_id: int) -> frozenset[str]:
    """Return the spellings of the address a delivery went to, in lower case; none if there is no such delivery."""
    delivery = db.session.get(Delivery, delivery_id) if delivery_id <= LARGEST_ID else None
    if delivery is None:
        return frozenset()
    return frozenset({delivery.address.lower(), (deliverable_form(delivery.address) or delivery.address).lower()})


def take(delivery_id: int, bounce: Bounce, *, now: datetime) -> Outcome:
    """Write down what a mail that came back says about a delivery, in the current transaction."""
    delivery = db.session.get(Delivery, delivery_id, with_for_update=True) if delivery_id <= LARGEST_ID else None
    if delivery is None:
        return Outcome(Became.IGNORED, "there is no such delivery any more", delivery_id)

    def outcome(became: Became, why: str) -> Outcome:
        return Outcome(became, why, delivery_id, delivery.address, bounce.status, bounce.words)

    if bounce.saying not in {Saying.FAILED, Saying.DELAYED}:
        return outcome(
            Became.IGNORED, f"it is no bounce: {bounce.saying.value}" if bounce.saying is not Saying.UNCLEAR else "it is no bounce"
        )
    if delivery.state in OPEN_STATES:
        return outcome(Became.TOO_EARLY, "its delivery is not settled yet")
    if delivery.state is not DeliveryState.SENT:
        return outcome(Became.IGNORED, f"its delivery is {delivery.state.value} already")
    if not delivery.address:
        # The mail server's words would bring the address back of somebody who was erased.
        return outcome(Became.IGNORED, "to whom it went was forgotten")
    if now - (delivery.settled_at or delivery.created_at) > BELIEVED_FOR:
        return outcome(Became.IGNORED, f"the mail was sent more than {BELIEVED_FOR.days} days ago")

    delivery.reply = _reply(bounce)
    if bounce.saying is Saying.DELAYED:
        delivery.reason = DELAYED
        return outcome(Became.NOTED, DELAYED)
    delivery.state, delivery.settled_at = DeliveryState.BOUNCED, now
    delivery.reason = ELSEWHERE if bounce.elsewhere else bounces.in_words(bounce.status, hard=bounce.hard)
    if not bounce.hard:
        return outcome(Became.BOUNCED, delivery.reason)
    suppression.add(delivery.address, delivery.reply, cause=SuppressionCause.RETURNED, delivery_id=delivery.id, now=now)
    return outcome(Became.SUPPRESSED, delivery.reason)


def _reply(bounce: Bounce) -> str:
    """The mail server's words as an SMTP reply has them, with the status among them: "mailbox full" is looked for by its code."""
    words = bounce.words
    if bounce.status is not None and f" {bounce.status} " not in f" {words} ":
        words = f"Status: {bounce.status} {words}"
    return words if len(words) <= REPLY_LENGTH else words[: REPLY_LENGTH - 1] + "…"
