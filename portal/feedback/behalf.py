"""Votes that staff note for a caller's contract: on the phone, by mail, at a meeting.

They count like any other vote: one contract, one vote. How the wish came, and in what words, is for staff; the organisation reads that
the vendor noted the vote for it, and can withdraw it like its own.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal import audit
from portal.account.entitlements import in_force
from portal.account.models import Contract, Organization, User
from portal.database import db, insert
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import tallies
from portal.feedback.access import LARGEST_ID
from portal.feedback.groups import hold
from portal.feedback.models import CallChannel, Item, Visibility, Vote
from portal.text import clean_line

WORDS_LIMIT = 500
CONTRACTS_OFFERED = 200


def contracts_to_choose(item: Item, now: datetime) -> dict[str, str]:
    """Return contracts that a vote for the item can be noted for and that have none: number -> organisation, by organisation.

    The first CONTRACTS_OFFERED; any other number can be given as well.
    """
    voted = sa.exists().where(Vote.item_id == item.id, Vote.contract_id == Contract.id, Vote.withdrawn_at.is_(None))
    rows = db.session.execute(
        sa.select(Contract.number, Organization.name)
        .join(Organization, Organization.id == Contract.organization_id)
        .where(*_may_ask(item, now), sa.not_(voted.correlate(Contract)))
        .order_by(Organization.name, Contract.number)
        .limit(CONTRACTS_OFFERED)
    )
    return dict(rows.all())


def note_vote(item_id: int, contract: str, *, channel: CallChannel, words: str, actor: User, now: datetime) -> Vote:
    """Note a vote for the contract of this number, or of the organisation of this name if it has but one.

    The contract must be in force, of the item's product, and of the organisation that a private item belongs to. `words` say who
    asked and how they put it.
    Raises NotFound for the item; Invalid("contract"), Invalid("words"); Conflict when the contract votes for it already.
    """
    item = db.session.get(Item, hold(item_id)) if 0 < item_id <= LARGEST_ID else None
    if item is None:
        raise NotFound("There is no such feedback.")
    found = _find_contract(item, contract, now)
    vote_id = db.session.scalar(
        insert(Vote)
        .values(
            item_id=item.id, contract_id=found.id, user_id=actor.id, created_at=now, channel=channel,
            words=clean_line(words, "words", WORDS_LIMIT),
        )
        .on_conflict_do_nothing(index_elements=["item_id", "contract_id"], index_where=sa.text("withdrawn_at IS NULL"))
        .returning(Vote.id)
    )  # fmt: skip
    if vote_id is None:
        raise Conflict(f"{found.number} votes for it already, so there is nothing to note.")
    tallies.recount([item.id])
    audit.record(
        "feedback.vote_noted", subject_type="feedback_item", subject_id=item.id, actor=actor, now=now,
        contract=found.number, channel=channel,
    )  # fmt: skip
    return db.session.get_one(Vote, vote_id)


def withdraw_vote(item_id: int, vote_id: int, *, actor: User, now: datetime) -> None:
    """Take back a vote that staff noted. Raises NotFound for any other: what an organisation voted is its own to withdraw.

    Raises Conflict where the item was merged: its votes are withdrawn where they count.
    """
    vote = None
    if 0 < item_id <= LARGEST_ID and 0 < vote_id <= LARGEST_ID:
        root = hold(item_id)
        if root != item_id:
            raise Conflict(f"This was merged into {root} in the meantime. Withdraw the vote there.")
        vote = db.session.scalar(
            sa.select(Vote)
            .where(Vote.id == vote_id, Vote.item_id == item_id, Vote.channel.is_not(None))
            .options(joinedload(Vote.contract))
            .with_for_update(of=Vote)
        )
    if vote is None:
        raise NotFound("There is no such noted vote.")
    if vote.withdrawn_at is not None:
        return
    vote.withdrawn_at = now
    tallies.recount([item_id])
    audit.record(
        "feedback.noted_vote_withdrawn", subject_type="feedback_item", subject_id=item_id, actor=actor, now=now,
        contract=vote.contract.number,
    )  # fmt: skip


def _may_ask(item: Item, now: datetime) -> list[sa.ColumnElement[bool]]:
    conditions = [Contract.product_id == item.product_id, in_force(now)]
    if item.visibility is Visibility.PRIVATE:
        conditions.append(Contract.organization_id == item.organization_id)
    return conditions


def _find_contract(item: Item, text: str, now: datetime) -> Contract:
    text = clean_line(text, "contract", 200)
    named = sa.or_(Contract.number == text, sa.func.lower(Organization.name) == text.lower())
    contracts = (
        sa.select(Contract).join(Organization, Organization.id == Contract.organization_id).options(joinedload(Contract.organization))
    )
    found = list(db.session.scalars(contracts.where(named).order_by(Contract.number)))
    if not found:
        raise Invalid(f"There is no contract “{text}”, and no organisation of that name with one. Give the contract's number.", "contract")
    fit = list(
        db.session.scalars(contracts.where(Contract.id.in_([one.id for one in found]), *_may_ask(item, now)).order_by(Contract.number))
    )
    if len(fit) == 1:
        return fit[0]
    if len(fit) > 1:
        raise Invalid(f"{text} has several contracts: {', '.join(one.number for one in fit)}. Give the number of one.", "contract")
    raise Invalid(_why_none(item, found), "contract")


def _why_none(item: Item, found: list[Contract]) -> str:
    numbers = " and ".join(one.number for one in found)
    verb = "is" if len(found) == 1 else "are"
    if all(one.product_id != item.product_id for one in found):
        return f"{numbers} {verb} not for {item.product.name}, which this is about."
    if item.visibility is Visibility.PRIVATE and all(one.organization_id != item.organization_id for one in found):
        return f"This is private to {item.organization.name}, so no other organisation can vote for it."
    return f"{numbers} {verb} not in force, so no vote counts for {'it' if len(found) == 1 else 'them'}."
