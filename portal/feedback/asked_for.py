"""What people asked for and a release brings: the items it ships, or puts to the test, that they wrote or their contract votes for."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from portal.account.entitlements import in_force
from portal.account.models import Contact, Contract
from portal.database import db, one_of
from portal.feedback.links import roots_of
from portal.feedback.models import Item, Status, StatusChange, Vote
from portal.releases.announcements import AskedFor
from portal.releases.models import Channel, Release


def asked_for(release: Release, user_ids: Collection[int], at: datetime) -> Mapping[int, list[AskedFor]]:
    """Return, by user id, what each of these people asked for of what stood in `release` at `at`, the oldest item first.

    Only who is a contact of a live contract is told: others may not see what is said about a beta. Asked again later with the
    same `at`, votes, seats and statuses are read as they stood then. The same three statements, however many people, and one more for
    a beta; one where the release brings nothing of the board.
    """
    brought = list(db.session.scalars(_brought_by(release, at)))
    if not brought:
        return {}
    # A beta is to be judged: its notice asks whether it solves what stands in it.
    judged = set(db.session.scalars(roots_of(release.id))) if release.channel is Channel.BETA else set()
    ask = {"ask": f"{release.path}#verdict"}
    rows = db.session.execute(_asked_for(release, brought, user_ids, at))
    items: dict[int, list[AskedFor]] = defaultdict(list)
    for row in rows:
        item = {"title": row.title, "path": f"/feedback/{row.id}/", "label": f"{row.kind.value} {row.id}"}
        items[row.user_id].append({**item, **ask} if row.id in judged else item)
    return items


def _asked_for(release: Release, brought: Collection[int], user_ids: Collection[int], at: datetime) -> sa.Select[int, int, str, str]:
    voted = sa.exists().where(
        Vote.item_id == Item.id, Vote.contract_id == Contact.contract_id, _stands(Vote.created_at, Vote.withdrawn_at, at)
    )
    # Not a join: from its product SQLite would go through all contracts, each time some people are asked about.
    under = sa.exists().where(Contract.id == Contact.contract_id, Contract.product_id == release.product_id, in_force(at))
    return (
        sa.select(Contact.user_id, Item.id, Item.title, Item.kind)
        .join(Item, Item.id.in_(brought))
        .where(
            one_of(Contact.user_id, user_ids),
            _stands(Contact.named_at, Contact.released_at, at),
            under.correlate(Contact),
            sa.or_(Item.author_id == Contact.user_id, voted.correlate(Item, Contact)),
        )
        .distinct()
        .order_by(Contact.user_id, Item.id)
    )


def _brought_by(release: Release, at: datetime) -> sa.Select[int]:
    """The items of its product that, at `at`, had last been said to be shipped in this release, or in this beta."""
    status = Status.IN_BETA if release.channel is Channel.BETA else Status.SHIPPED
    later, item = aliased(StatusChange), aliased(Item)
    overtaken = sa.exists().where(later.item_id == StatusChange.item_id, later.id > StatusChange.id, later.at <= at).correlate(StatusChange)
    return (
        sa.select(StatusChange.item_id)
        .join(item, item.id == StatusChange.item_id)
        .where(item.product_id == release.product_id, StatusChange.version == release.version, StatusChange.status == status)
        .where(StatusChange.at <= at, sa.not_(overtaken))
    )


def _stands(
    since: sa.SQLColumnExpression[datetime], until: sa.SQLColumnExpression[datetime | None], at: datetime
) -> sa.ColumnElement[bool]:
    return sa.and_(since <= at, sa.or_(until.is_(None), until > at))
