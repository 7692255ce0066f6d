"""Some of the people of a notice: what a page shows is what its button acts on."""

from dataclasses import dataclass

import sqlalchemy as sa

from portal.notices.models import Delivery, DeliveryState

# What a retry takes up unless a state is named. A final refusal is left alone then: the mail server said trying is of no use.
RETRIED = (DeliveryState.FAILED, DeliveryState.DEFERRED)
# What is on its way, or has arrived, is not tried again whatever is named.
NEVER_RETRIED = (DeliveryState.QUEUED, DeliveryState.SENDING, DeliveryState.SENT)


@dataclass(frozen=True)
class Selection:
    """The deliveries of a notice that are in `state`, go to `domain` and have `search` in their address; each empty for any."""

    state: DeliveryState | None = None
    domain: str = ""
    search: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves out people for another reason than their state."""
        return bool(self.domain or self.search)

    def places(self) -> list[sa.ColumnElement[bool]]:
        """The conditions on the address, whatever the state."""
        conditions: list[sa.ColumnElement[bool]] = []
        if self.domain:
            conditions.append(Delivery.domain == self.domain)
        if self.search:
            conditions.append(sa.func.lower(Delivery.address).contains(self.search.lower(), autoescape=True))
        return conditions

    def retryable(self) -> sa.ColumnElement[bool]:
        """Those of them that a retry takes up.

        Without a state: what failed or waits for its next try, and mailboxes that were full. With one: all of it, since whoever
        names it has seen why; what must not be sent is still held back at the second of sending. Never one whose address was
        forgotten: it is long past, or of somebody who was erased.
        """
        known = Delivery.address != ""
        if self.state is None:
            full = sa.and_(Delivery.state == DeliveryState.BOUNCED, mailbox_was_full())
            return sa.and_(known, *self.places(), sa.or_(Delivery.state.in_(RETRIED), full))
        if self.state in NEVER_RETRIED:
            return sa.false()
        return sa.and_(known, *self.places(), Delivery.state == self.state)


EVERYBODY = Selection()


def mailbox_was_full() -> sa.ColumnElement[bool]:
    """The enhanced status code X.2.2 (RFC 3463): permanent by its first digit, and yet it passes."""
    return Delivery.reply.like("% 5.2.2 %")
