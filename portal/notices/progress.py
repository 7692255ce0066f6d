"""How notices are getting on: counts, people, and what can be tried again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from portal.database import db
from portal.errors import NotFound
from portal.notices import kinds
from portal.notices.models import OPEN_STATES, Delivery, DeliveryState, Notice
from portal.notices.outbox import mailbox_was_full
from portal.products.models import Product

PAGE = 50


@dataclass(frozen=True)
class Progress:
    """How far one notice has come. `counts` has every state; `next_attempt_at` is when the first deferred mail is tried again."""

    notice_id: int
    counts: Mapping[DeliveryState, int]
    next_attempt_at: datetime | None = None
    retryable: int = 0

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        """Queued, or in a worker's hands."""
        return self.counts[DeliveryState.QUEUED] + self.counts[DeliveryState.SENDING]

    @property
    def open(self) -> int:
        return sum(self.counts[state] for state in OPEN_STATES)

    @property
    def finished(self) -> bool:
        return self.open == 0

    @property
    def summary(self) -> str:
        """The numbers as a sentence, for the bar's label and for screen readers."""
        parts = [
            (self.counts[DeliveryState.SENT], "sent"),
            (self.waiting, "queued"),
            (self.counts[DeliveryState.DEFERRED], "deferred"),
            (self.counts[DeliveryState.BOUNCED], "bounced"),
            (self.counts[DeliveryState.FAILED], "failed"),
            (self.counts[DeliveryState.SKIPPED], "skipped"),
        ]
        said = ", ".join(f"{count:,} {word}" for count, word in parts if count)
        return f"Of {self.total:,}: {said}" if said else "Nobody is to get this notice"


@dataclass(frozen=True)
class Listed:
    """A notice as a line of a list. `recipient` is the address of the only person it goes to, None where there are others."""

    notice: Notice
    label: str
    title: str
    product_name: str | None
    recipient: str | None
    progress: Progress


@dataclass(frozen=True)
class RecipientPage:
    """Some people of a notice. `next_after` is where the next page begins, None at the end."""

    deliveries: Sequence[Delivery] = field(default_factory=list)
    next_after: int | None = None


def find(notice_id: int) -> Notice:
    """Return a notice. Raises NotFound."""
    notice = db.session.get(Notice, notice_id)
    if notice is None:
        raise NotFound(f"There is no notice {notice_id}.")
    return notice


def find_by_key(key: str) -> Notice | None:
    """Return the notice with this unique key, such as "release-12-published", or None."""
    return db.session.scalar(sa.select(Notice).where(Notice.key == key))


def product_of(notice: Notice) -> str | None:
    """Return the name of the product a notice is about, if it is about one."""
    product = db.session.get(Product, notice.product_id) if notice.product_id is not None else None
    return product.name if product else None


def label_of(notice: Notice) -> str:
    label = kinds.in_words(notice.kind)
    return f"{label} (test)" if notice.context.get("test") is True else label


def title_of(notice: Notice) -> str:
    """Return what a notice is about, such as "Macro Studio 15.3b2"; empty where its kind says it all."""
    return str(notice.context.get("title", ""))


def progress(notice_id: int) -> Progress:
    """Return how far a notice has come."""
    counts = _counts([notice_id])[notice_id]
    next_attempt_at = db.session.scalar(
        sa.select(sa.func.min(Delivery.next_attempt_at)).where(Delivery.notice_id == notice_id, Delivery.state == DeliveryState.DEFERRED)
    )
    full = db.session.scalar(
        sa.select(sa.func.count()).where(Delivery.notice_id == notice_id, Delivery.state == DeliveryState.BOUNCED, mailbox_was_full())
    )
    return Progress(notice_id, counts, next_attempt_at, counts[DeliveryState.FAILED] + counts[DeliveryState.DEFERRED] + (full or 0))


def totals() -> dict[DeliveryState, int]:
    """Return how many deliveries are in each state, over all notices."""
    counts = dict.fromkeys(DeliveryState, 0)
    for state, count in db.session.execute(sa.select(Delivery.state, sa.func.count()).group_by(Delivery.state)):
        counts[state] = count
    return counts


def latest(*, before_id: int | None = None, limit: int = PAGE) -> list[Listed]:
    """Return notices, newest first, with their numbers; `before_id` is the last one of the page before."""
    rows = db.session.execute(
        sa.select(Notice, Product.name)
        .outerjoin(Product, Product.id == Notice.product_id)
        .where(Notice.id < before_id if before_id is not None else sa.true())
        .order_by(Notice.id.desc())
        .limit(limit)
    ).all()
    ids = [notice.id for notice, _ in rows]
    counts, alone = _counts(ids), _only_recipients(ids)
    return [
        Listed(notice, label_of(notice), title_of(notice), name, alone.get(notice.id), Progress(notice.id, counts[notice.id]))
        for notice, name in rows
    ]


def recipients(notice_id: int, state: DeliveryState | None = None, after_id: int = 0, limit: int = PAGE) -> RecipientPage:
    """Return the people of a notice in the order they were added, those in `state` alone if one is given."""
    rows = list(
        db.session.scalars(
            sa.select(Delivery)
            .where(Delivery.notice_id == notice_id, Delivery.id > after_id, Delivery.state == state if state is not None else sa.true())
            .order_by(Delivery.id)
            .limit(limit + 1)
        )
    )
    return RecipientPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def _counts(notice_ids: Sequence[int]) -> dict[int, dict[DeliveryState, int]]:
    counts = {notice_id: dict.fromkeys(DeliveryState, 0) for notice_id in notice_ids}
    grouped = sa.select(Delivery.notice_id, Delivery.state, sa.func.count()).where(Delivery.notice_id.in_(notice_ids))
    for notice_id, state, count in db.session.execute(grouped.group_by(Delivery.notice_id, Delivery.state)):
        counts[notice_id][state] = count
    return counts


def _only_recipients(notice_ids: Sequence[int]) -> dict[int, str]:
    """Return the address of those notices that go to one person alone."""
    addresses = sa.select(Delivery.notice_id, sa.func.min(Delivery.address)).where(Delivery.notice_id.in_(notice_ids))
    rows = db.session.execute(addresses.group_by(Delivery.notice_id).having(sa.func.count() == 1))
    return dict(rows.all())
