"""Merging: two items that ask for the same become one, and can be told apart again exactly.

The merged item keeps everything it has: its text, comments, votes. What it adds to the target is
1. its votes, as copies under the target, for contracts that do not vote there already: one contract, one vote. A copy knows the vote it
   stands for, so telling the two apart again takes back the copies and nothing else;
2. its comments, which the target's page shows to those who may read the merged item (`groups`).

A status that a release gave to the target through a link of the item goes with the item.

Told apart again, a contract votes for the merged item if it did before, and has not withdrawn its vote in the meantime; it votes for the
target if it did so before, or has voted since.

Refused is what would show a text to people whom it is not for, or take an item away from people who read it:
1. across products: whoever votes for one may have no contract for the other;
2. a public item into a private one: its voters could no longer read what they vote for;
3. one organisation's private item into another's.
A private item goes into a public one: its text and its comments stay as private as they were.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import aliased, joinedload

from portal import audit
from portal.account.entitlements import in_force
from portal.account.models import Contract, User
from portal.database import db, insert
from portal.errors import Conflict, NotFound
from portal.feedback import shipping, tallies
from portal.feedback.access import LARGEST_ID, Viewer, readable_by
from portal.feedback.groups import members_of, root_of
from portal.feedback.models import Item, Merge, NotAlike, Visibility, Vote


@dataclass(frozen=True)
class Sum:
    """How many contracts vote for the item, for the target, and for both."""

    item: int
    target: int
    both: int

    @property
    def together(self) -> int:
        return self.item + self.target - self.both


@dataclass(frozen=True)
class Comparison:
    """Two items side by side, before one is merged into the other. `refusal` says why that cannot be done, if so."""

    item: Item
    target: Item
    votes: Sum
    refusal: str | None


def compare(item_id: int, target_id: int, *, now: datetime) -> Comparison:
    """Return two items for a decision. Raises NotFound if there is no such item."""
    item, target = _both(item_id, target_id)
    return Comparison(item, target, _sum(item.id, target.id, now), _why_not(item, target))


def merge(item_id: int, target_id: int, *, revisions: tuple[int, int], actor: User, now: datetime) -> Merge:
    """Merge an item into another one.

    `revisions` are those of the two that the editor compared. Raises NotFound; Conflict when somebody has changed one of them
    since, or when the two cannot be one (see the module's docstring).
    """
    item, target = _both(item_id, target_id, lock=True)
    if (item.revision, target.revision) != revisions:
        raise Conflict("Somebody changed one of the two in the meantime, so nothing was merged. Compare them again.")
    refusal = _why_not(item, target)
    if refusal is not None:
        raise Conflict(refusal)
    before = _sum(item.id, target.id, now)
    merged = Merge(item_id=item.id, target_id=target.id, merged_at=now, merged_by_id=actor.id)
    db.session.add(merged)
    item.merged_into_id = target.id
    item.read_at = item.read_at or now
    _count_edit(item, target)
    _copy_votes(item.id, target.id, now)
    tallies.recount([item.id, target.id])
    audit.record(
        "feedback.merged", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, into=target.id,
        votes=before.item, votes_of_target=before.target, votes_together=before.together,
    )  # fmt: skip
    return merged


def unmerge(item_id: int, *, actor: User, now: datetime) -> int:
    """Tell an item apart again from the one it was merged into; return that one's id.

    Raises NotFound, and Conflict if the item is not merged, or its target is merged itself: they come apart in reverse order.
    """
    target_id = db.session.scalar(sa.select(Item.merged_into_id).where(Item.id == item_id)) if 0 < item_id <= LARGEST_ID else None
    shipping.hold_release(target_id or item_id)
    item, target = _both(item_id, target_id or item_id, lock=True)
    if item.merged_into_id is None or item.merged_into_id != target.id:
        raise Conflict(f"{name(item)} is not merged into another item any more.")
    if target.merged_into_id is not None:
        raise Conflict(f"{name(target)} was merged itself since. Tell that one apart first.")
    _take_votes_back(item.id, target.id, now)
    tallies.recount([item.id, target.id])
    ended = db.session.scalars(sa.select(Merge).where(Merge.item_id == item.id, Merge.unmerged_at.is_(None))).one()
    ended.unmerged_at, ended.unmerged_by_id = now, actor.id
    item.merged_into_id = None
    _count_edit(item, target)
    shipping.part(item, target, actor=actor, now=now)
    after = _sum(item.id, target.id, now)
    audit.record(
        "feedback.unmerged", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, of=target.id,
        votes=after.item, votes_of_target=after.target,
    )  # fmt: skip
    return target.id


def _why_not(item: Item, target: Item) -> str | None:
    """Return why an item cannot be merged into another one, None if it can."""
    if item.id == target.id:
        return "Nothing can be merged into itself. Choose another item."
    if item.merged_into_id is not None:
        return f"{name(item)} is merged already, into {item.merged_into_id}. Tell those two apart first."
    if target.merged_into_id is not None:
        return f"{name(target)} was merged itself, into {target.merged_into_id}. Merge into that one."
    if item.product_id != target.product_id:
        return f"They are about two products. Who votes for one may have no contract for {target.product.name}."
    if target.visibility is Visibility.PRIVATE and item.visibility is not Visibility.PRIVATE:
        return (
            f"{name(target)} is private to {target.organization.name}, so everybody else could no longer read what they ask for."
            " Merge it the other way round."
        )
    if target.visibility is Visibility.PRIVATE and item.organization_id != target.organization_id:
        return "Both are private, to two organisations, so neither may learn of the other's. Write a public item, and merge both into that."
    return None


def name(item: Item) -> str:
    """What to call an item in a sentence: Idea 12."""
    return f"{item.kind.value.capitalize()} {item.id}"


def sums(item_id: int, others: Collection[int], now: datetime) -> dict[int, Sum]:
    """Return, for each of `others`, what it and the item would have together; the same statements, however many they are."""
    tally = tallies.sums(now).votes
    voted = dict(db.session.execute(sa.select(Item.id, tally).where(Item.id.in_([item_id, *others]))).all())
    mine, theirs = aliased(Vote), aliased(Vote)
    shared = dict(
        db.session.execute(
            sa.select(theirs.item_id, sa.func.count())
            .join(mine, sa.and_(mine.contract_id == theirs.contract_id, mine.item_id == item_id, mine.withdrawn_at.is_(None)))
            .join(Contract, Contract.id == theirs.contract_id)
            .where(theirs.item_id.in_(others), theirs.withdrawn_at.is_(None), in_force(now))
            .group_by(theirs.item_id)
        ).all()
    )
    return {other: Sum(voted[item_id], voted[other], shared.get(other, 0)) for other in others}


def _sum(item_id: int, target_id: int, now: datetime) -> Sum:
    return sums(item_id, [target_id], now)[target_id]


def _copy_votes(item_id: int, target_id: int, now: datetime) -> None:
    """Add the item's live votes to the target, for contracts that have none there. A copy of a copy stands for the first vote."""
    theirs = sa.select(
        sa.literal(target_id), Vote.contract_id, Vote.user_id, sa.literal(now, Vote.created_at.type), Vote.channel, Vote.words,
        sa.func.coalesce(Vote.copy_of_id, Vote.id),
    ).where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None))  # fmt: skip
    columns = ["item_id", "contract_id", "user_id", "created_at", "channel", "words", "copy_of_id"]
    db.session.execute(
        insert(Vote)
        .from_select(columns, theirs)
        .on_conflict_do_nothing(index_elements=["item_id", "contract_id"], index_where=sa.text("withdrawn_at IS NULL"))
    )


def _take_votes_back(item_id: int, target_id: int, now: datetime) -> None:
    """Withdraw from the item what was withdrawn from the target since, and from the target what came with the item."""
    at_target, original = aliased(Vote), aliased(Vote)
    still_wanted = sa.select(at_target.contract_id).where(at_target.item_id == target_id, at_target.withdrawn_at.is_(None))
    came_along = sa.select(original.id).where(original.item_id.in_(members_of(item_id)))
    live = sa.update(Vote).where(Vote.withdrawn_at.is_(None)).values(withdrawn_at=now)
    db.session.execute(live.where(Vote.item_id == item_id, Vote.contract_id.not_in(still_wanted)))
    db.session.execute(live.where(Vote.item_id == target_id, Vote.copy_of_id.in_(came_along)))


def _count_edit(*items: Item) -> None:
    """Let whoever has one of the items open in a form be told, instead of answering what is no longer there."""
    for item in items:
        item.revision += 1
    db.session.flush()


def _both(item_id: int, target_id: int, *, lock: bool = False) -> tuple[Item, Item]:
    """Return two items, locked in the order of their ids, so that no two such locks wait for each other. Raises NotFound."""
    if not all(0 < number <= LARGEST_ID for number in (item_id, target_id)):
        raise NotFound("There is no such feedback.")
    statement = sa.select(Item).where(Item.id.in_([item_id, target_id])).order_by(Item.id)
    statement = statement.with_for_update(of=Item) if lock else statement.options(joinedload(Item.author), joinedload(Item.organization))
    found = {item.id: item for item in db.session.scalars(statement)}
    if item_id not in found or target_id not in found:
        raise NotFound("There is no such feedback.")
    return found[item_id], found[target_id]


@dataclass(frozen=True)
class Merged:
    """An item that was merged into another one, with when and by whom."""

    item: Item
    merge: Merge


def merged_into(item_id: int, viewer: Viewer | None = None) -> list[Merged]:
    """Return what was merged into an item, over however many steps, oldest merge first; with `viewer`, only what they may read."""
    members = [member for member in members_of(item_id) if member != item_id]
    if not members:
        return []
    statement = (
        sa.select(Item, Merge)
        .join(Merge, sa.and_(Merge.item_id == Item.id, Merge.unmerged_at.is_(None)))
        .where(Item.id.in_(members), *([readable_by(viewer)] if viewer is not None else []))
        .options(joinedload(Item.author), joinedload(Item.organization), joinedload(Item.release), joinedload(Merge.merged_by))
        .order_by(Merge.id)
    )
    return [Merged(item, merge) for item, merge in db.session.execute(statement)]


def not_alike(item_id: int, other_id: int, *, actor: User, now: datetime) -> None:
    """Remember that two items are not the same, so that neither is proposed for the other again. Raises NotFound."""
    item, other = _both(item_id, other_id)
    low, high = sorted((item.id, other.id))
    if low == high:
        raise NotFound("There is no such feedback.")
    pair = insert(NotAlike).values(low_id=low, high_id=high, said_at=now, said_by_id=actor.id).on_conflict_do_nothing()
    if db.session.execute(pair.returning(NotAlike.low_id)).first() is not None:
        audit.record("feedback.not_alike", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now, other=other.id)


def leads_to(viewer: Viewer, item: Item) -> int | None:
    """Return the id of the item that a merged one's address leads to; None if it is not merged, or the viewer may not read that one.

    To them the merged item goes on standing for itself: they lose nothing, and learn nothing.
    """
    if item.merged_into_id is None:
        return None
    return db.session.scalar(sa.select(Item.id).where(Item.id == root_of(item.id), readable_by(viewer)))
