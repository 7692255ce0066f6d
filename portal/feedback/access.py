"""Who sees which feedback. Every list, search, count and address asks here, so there is one answer.

Visible is an item that
1. belongs to a product the reader is entitled to, or was entitled to through a contract that has lapsed; and
2. is open to all subscribers, or is the reader's own organisation's; and
3. for the lapsed, is not about a beta.
Staff see everything. An item that was merged into another one stands in no list: its address leads to that one (`merging`).

To the lapsed, an item that is in a beta reads "Planned", a beta's version is left out, and so is what was said while the
item was in a beta.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from packaging.version import InvalidVersion, Version

from portal.account.entitlements import Benefit, Decision, decide_by_product, decide_for_any
from portal.account.models import Contact, User
from portal.database import db
from portal.errors import Conflict, NotFound
from portal.feedback.models import Item, Status, StatusChange, Visibility
from portal.products.models import Product
from portal.releases.models import Channel, Release

LARGEST_ID = 2**31 - 1  # of an id, on PostgreSQL
_BETA_WORDS = re.compile(r"\d\s*(a|alpha|b|beta|rc|c)\s*\d*\b|beta|alpha|preview", re.IGNORECASE)


class ReadOnly(Conflict):
    """The person may read the board, but neither write nor vote. `decision` says why; None for staff."""

    def __init__(self, decision: Decision | None) -> None:
        super().__init__("You can read the feedback, but not write or vote: that needs a live contract for the product.")
        self.decision = decision


@dataclass(frozen=True)
class Viewer:
    """What decides what a person sees and may do on the board.

    `contracts` names, for each product the person is entitled to, the contract that votes when they do; `lapses` says, for
    each product whose contract has lapsed, why.
    """

    person: User
    staff: bool = False
    contracts: dict[int, int] = field(default_factory=dict)
    lapses: dict[int, Decision] = field(default_factory=dict)

    @property
    def organization_id(self) -> int | None:
        return None if self.staff else self.person.organization_id

    @property
    def lapsed(self) -> frozenset[int]:
        return frozenset(self.lapses)

    @property
    def parameters(self) -> dict[str, Any]:
        """What VISIBLE and STATUS_SHOWN ask for."""
        return {
            "entitled_products": list(self.contracts),
            "lapsed_products": list(self.lapses),
            "reader_organization": self.person.organization_id,
        }

    @property
    def may_read(self) -> bool:
        return self.staff or bool(self.contracts) or bool(self.lapsed)

    def voting_contract(self, product_id: int) -> int:
        """Return the contract the person writes and votes for. Raises ReadOnly for those who only read."""
        contract_id = self.contracts.get(product_id)
        if contract_id is None:
            raise ReadOnly(self.lapses.get(product_id))
        return contract_id


def viewer_of(person: User, now: datetime, seats: Sequence[Contact] | None = None) -> Viewer:
    """Return how `person` stands to the board at `now`, reading the database afresh, unless their `seats` were just read."""
    if person.is_staff and person.active:
        return Viewer(person, staff=True)
    contracts: dict[int, int] = {}
    lapses: dict[int, Decision] = {}
    for product_id, decision in decide_by_product(person, Benefit.FEEDBACK, now, seats).items():
        if decision.allowed and decision.contract_id is not None:
            contracts[product_id] = decision.contract_id
        elif decision.lapsed:
            lapses[product_id] = decision
    return Viewer(person, contracts=contracts, lapses=lapses)


def refusal(person: User, now: datetime) -> Decision:
    """Return why `person` may not even read the board."""
    return decide_for_any(person, Benefit.FEEDBACK, now)


def products_of(viewer: Viewer) -> list[Product]:
    """Return the products whose board the viewer reads, by name."""
    products = sa.select(Product).order_by(Product.name)
    return list(db.session.scalars(products if viewer.staff else products.where(Product.id.in_({*viewer.contracts, *viewer.lapses}))))


def about_beta() -> sa.ColumnElement[bool]:
    """Whether an Item was written about a beta."""
    return sa.exists().where(Release.id == Item.release_id, Release.channel == Channel.BETA)


def _readable(entitled: Any, lapsed: Any, organization: Any) -> sa.ColumnElement[bool]:
    """The one predicate (see the module's docstring), for values or for parameters that stand for them."""
    of_the_lapsed = sa.and_(Item.product_id.in_(lapsed), sa.not_(about_beta()))
    return sa.and_(sa.or_(Item.product_id.in_(entitled), of_the_lapsed), _open_to(organization))


def _open_to(organization: Any) -> sa.ColumnElement[bool]:
    return sa.or_(Item.visibility == Visibility.SUBSCRIBERS, Item.organization_id == organization)


def _readable_to(viewer: Viewer, *, few: bool) -> sa.ColumnElement[bool]:
    """The same for values, so that an index by product can be used: a person is entitled to a product, or has lapsed, never both.

    With `few`, none is to be used: a list starts from the few items that something else has found.
    """
    product = Item.product_id + 0 if few else Item.product_id
    conditions = [product.in_({*viewer.contracts, *viewer.lapses}), _open_to(viewer.organization_id)]
    if viewer.lapses:
        betas = sa.select(Release.id).where(Release.channel == Channel.BETA)
        conditions.append(sa.or_(Item.product_id.not_in(viewer.lapses), Item.release_id.is_(None), Item.release_id.not_in(betas)))
    return sa.and_(*conditions)


def _status_shown(lapsed: Any) -> sa.ColumnElement[Status]:
    hidden = sa.and_(Item.status == Status.IN_BETA, Item.product_id.in_(lapsed))
    return sa.case((hidden, sa.literal(Status.PLANNED, Item.status.type)), else_=Item.status)


# For statements that are built once and run with `Viewer.parameters`.
_LAPSED: sa.BindParameter[Any] = sa.bindparam("lapsed_products", expanding=True)
VISIBLE = sa.and_(
    _readable(sa.bindparam("entitled_products", expanding=True), _LAPSED, sa.bindparam("reader_organization", type_=sa.Integer())),
    Item.merged_into_id.is_(None),
)
STATUS_SHOWN = _status_shown(_LAPSED)


def readable_by(viewer: Viewer) -> sa.ColumnElement[bool]:
    """Whether the viewer may read an Item, merged or not; staff may, always. For one item and what belongs to it."""
    return sa.true() if viewer.staff else _readable_to(viewer, few=False)


def visible_to(viewer: Viewer, *, few: bool = False) -> sa.ColumnElement[bool]:
    """Whether an Item stands in the viewer's lists, searches and counts: readable, and not merged into another one.

    `few` says that the statement names a few items by their ids, so that it starts from them.
    """
    return sa.and_(Item.merged_into_id.is_(None), sa.true() if viewer.staff else _readable_to(viewer, few=few))


def status_shown_to(viewer: Viewer) -> sa.SQLColumnExpression[Status]:
    """The status of an Item as the viewer reads it, so that no filter and no count says more than the page."""
    return _status_shown(list(viewer.lapses)) if viewer.lapsed else Item.status


def has_status(viewer: Viewer, status: Status) -> sa.ColumnElement[bool]:
    """Whether an Item has a status as the viewer reads it: `status_shown_to` as a condition that says at once where there is none."""
    if viewer.lapsed and status is Status.IN_BETA:
        return sa.and_(Item.status == status, Item.product_id.in_(viewer.contracts))
    if viewer.lapsed and status is Status.PLANNED:
        return sa.or_(Item.status == status, sa.and_(Item.status == Status.IN_BETA, Item.product_id.in_(viewer.lapsed)))
    return Item.status == status


def show_status(viewer: Viewer, product_id: int, status: Status, version: str) -> tuple[Status, str]:
    """Return status and version as the viewer reads them: the twin of `status_shown_to` for one row."""
    if viewer.staff or product_id not in viewer.lapsed:
        return status, version
    if status is Status.IN_BETA:
        return Status.PLANNED, ""
    return status, "" if names_beta(version) else version


def names_beta(version: str) -> bool:
    """Whether a version, or the words that stand for one, names a beta."""
    try:
        return Version(version).is_prerelease
    except InvalidVersion:
        return _BETA_WORDS.search(version) is not None


def beta_times(changes: Sequence[StatusChange]) -> list[tuple[datetime, datetime | None]]:
    """Return the stretches in which an item was in a beta: from, until (None: still). `changes` are in order of time."""
    stretches: list[tuple[datetime, datetime | None]] = []
    since: datetime | None = None
    for change in changes:
        if change.status is Status.IN_BETA:
            since = since or change.at
        elif since is not None:
            stretches.append((since, change.at))
            since = None
    return [*stretches, (since, None)] if since is not None else stretches


def find_item(viewer: Viewer, item_id: int) -> Item:
    """Return the item, merged or not, if the viewer may read it. Raises NotFound otherwise, whatever the reason."""
    item = None
    if 0 < item_id <= LARGEST_ID:
        item = db.session.scalar(sa.select(Item).where(Item.id == item_id, readable_by(viewer)))
    if item is None:
        raise NotFound("There is no such feedback.")
    return item
