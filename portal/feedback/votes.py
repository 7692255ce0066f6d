"""Votes: one contract, one vote. The database holds that by a partial unique index; nothing here counts first.

A vote counts while its contract is in force. A lapse takes it out of every number, a renewal brings it back.
"""

from datetime import datetime

import sqlalchemy as sa

from portal.account.entitlements import live_contracts
from portal.account.models import Contract
from portal.database import db, insert
from portal.feedback import followers, tallies
from portal.feedback.access import Viewer, find_item
from portal.feedback.groups import hold
from portal.feedback.models import Item, Vote


def cast(viewer: Viewer, item_id: int, *, now: datetime) -> None:
    """Give the vote of the viewer's contract to an item, or to the one that it was merged into. Giving it again changes nothing.

    Who votes follows the item from then on, unless they have said no to that. Vote and following both go to the item that is held:
    a row about the merged one would wait for whoever tells the two apart, who waits for this.
    Raises NotFound for an item the viewer cannot see, Conflict for those who only read.
    """
    item = find_item(viewer, item_id)
    held = hold(item.id)
    add(held, viewer.voting_contract(item.product_id), viewer.person.id, now=now)
    followers.start(held, viewer.person.id, now=now)


def withdraw(viewer: Viewer, item_id: int, *, now: datetime) -> None:
    """Take the vote of the viewer's contract back, whichever contact gave it. Raises what `cast` raises."""
    item = find_item(viewer, item_id)
    held = hold(item.id)
    db.session.execute(
        sa.update(Vote)
        .where(Vote.item_id == held, Vote.contract_id == viewer.voting_contract(item.product_id), Vote.withdrawn_at.is_(None))
        .values(withdrawn_at=now)
    )
    tallies.recount([held])


def add(item_id: int, contract_id: int, user_id: int, *, now: datetime) -> None:
    """Insert a vote, unless the contract's vote is there already."""
    db.session.execute(
        insert(Vote)
        .values(item_id=item_id, contract_id=contract_id, user_id=user_id, created_at=now)
        .on_conflict_do_nothing(index_elements=["item_id", "contract_id"], index_where=sa.text("withdrawn_at IS NULL"))
    )
    tallies.recount([item_id])


def counting(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a Vote counts at `now`: not withdrawn, and its contract in force."""
    return sa.and_(Vote.withdrawn_at.is_(None), Vote.contract_id.in_(live_contracts(now)))


def count_of_item(now: datetime) -> sa.ColumnElement[int]:
    """The number of contracts that vote for an Item, as a column."""
    return tallies.sums(now).votes


def is_ours(viewer: Viewer) -> sa.ColumnElement[bool]:
    """Whether the viewer's contract votes for an Item, as a column."""
    return sa.exists().where(Vote.item_id == Item.id, is_of(viewer)).correlate(Item)


def is_of(viewer: Viewer) -> sa.ColumnElement[bool]:
    """Whether a Vote is a live one of the viewer's contract."""
    return sa.and_(Vote.withdrawn_at.is_(None), Vote.contract_id.in_(viewer.contracts.values()))


def with_ours(viewer: Viewer) -> sa.ColumnElement[bool]:
    """Whether the viewer's contract votes for an Item, as a condition: found from its votes, which are few, not from all items."""
    return Item.id.in_(sa.select(Vote.item_id).where(is_of(viewer)))


def of_organization(viewer: Viewer, item_id: int) -> list[Vote]:
    """Return the live votes of the viewer's organisation for an item: who of us voted."""
    return list(
        db.session.scalars(
            sa.select(Vote)
            .join(Contract, Contract.id == Vote.contract_id)
            .where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None), Contract.organization_id == viewer.organization_id)
            .options(sa.orm.joinedload(Vote.user), sa.orm.joinedload(Vote.contract))
            .order_by(Vote.id)
        )
    )
