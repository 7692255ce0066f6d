"""Who asked for an item: who wrote it, and both contacts of each contract that votes for it, while the contract is in force.

And who may read it: the same answer as the board's, for many people at once.
"""

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa

from portal.account.entitlements import Benefit, entitled, in_force
from portal.account.models import Contact, Contract, User
from portal.database import db
from portal.errors import NotFound
from portal.feedback.access import find_item, viewer_of
from portal.feedback.models import Item, Visibility, Vote


def asked_for(now: datetime) -> sa.ColumnElement[bool]:
    """The condition on an Item and a User, both of the statement around it, that this person asked for it."""
    seat = (
        sa.select(Contact.id)
        .join(Contract, Contract.id == Contact.contract_id)
        .where(Contact.user_id == User.id, Contact.released_at.is_(None), Contract.product_id == Item.product_id, in_force(now))
    )
    votes = seat.join(Vote, Vote.contract_id == Contact.contract_id).where(Vote.item_id == Item.id, Vote.withdrawn_at.is_(None))
    return sa.or_(
        votes.correlate(User, Item).exists(),
        sa.and_(Item.author_id == User.id, seat.correlate(User, Item).exists()),
    )  # fmt: skip


def readers(item: Item, user_ids: Collection[int], now: datetime) -> dict[int, bool]:
    """Return those of `user_ids` who may read an item now, and whether they may read of betas too.

    The contacts of live contracts are asked about by one statement; the others, who are few, one by one.
    """
    whole = sa.true() if item.visibility is Visibility.SUBSCRIBERS else User.organization_id == item.organization_id
    among = entitled(Benefit.FEEDBACK, item.product_id, now, among=list(user_ids))
    found = dict.fromkeys(db.session.scalars(sa.select(User.id).where(User.id.in_(among), whole)), True)
    for user_id in set(user_ids) - found.keys():
        viewer = viewer_of(db.session.get_one(User, user_id), now)
        try:
            find_item(viewer, item.id)
        except NotFound:
            continue
        found[user_id] = viewer.staff or item.product_id in viewer.contracts
    return found
