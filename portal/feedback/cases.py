"""One item as product staff see it: who votes and what they pay, what was said, what it was merged with, what it looks like."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import joinedload, selectinload

from portal.account.entitlements import live_contracts
from portal.account.models import Contract, Term, User
from portal.clock import civil_date
from portal.database import db
from portal.errors import NotFound
from portal.feedback import merging, reading, search, tallies
from portal.feedback.access import LARGEST_ID, Viewer
from portal.feedback.models import Comment, Item, NotAlike, Status, StatusChange, Vote

VOTERS_SHOWN = 50
COMMENTS_SHOWN = 200
LOOK_ALIKES = 3
# Shorter words of a title (a, when, from) stand in most items, and make none like another.
TELLING_LETTERS = 4

# Currency -> cents a year.
Value = dict[str, int]


@dataclass(frozen=True)
class Voter:
    """A contract that votes, with what staff weigh: its yearly price, the last day it is sold for, and whether that comes soon."""

    vote: Vote
    term: Term
    last_day: date
    ends_soon: bool

    @property
    def contract(self) -> Contract:
        return self.vote.contract

    @property
    def by(self) -> User:
        return self.vote.user

    @property
    def voted_at(self) -> datetime:
        """When the vote was given; a vote that came with a merge keeps the day of the one it stands for."""
        return (self.vote.copy_of or self.vote).created_at

    @property
    def yearly_cents(self) -> int:
        return tallies.yearly_cents(self.term.price_cents, self.term.starts_on, self.term.ends_on)


@dataclass(frozen=True)
class Case:
    """An item as product staff see it. `voters` are the latest VOTERS_SHOWN; the numbers count all."""

    item: Item
    votes: int
    value: Value
    ending: int
    voters: list[Voter]
    steps: list[StatusChange]
    comments: list[Comment]
    merged: list[merging.Merged]
    merged_into: Item | None

    @property
    def reason(self) -> str:
        """Why the item stands where it does."""
        return self.steps[-1].reason if self.steps else ""

    @property
    def names(self) -> dict[int, str]:
        """What to call each merged item within a sentence."""
        return {one.item.id: f"{one.item.kind.value} {one.item.id}" for one in self.merged}


@dataclass(frozen=True)
class LookAlike:
    """An item that says something similar, and how many contracts the two would have together."""

    item: Item
    votes: merging.Sum


def open_case(item_id: int, *, now: datetime) -> Case:
    """Return everything staff see of an item. Raises NotFound."""
    item = _find(item_id)
    sums = tallies.sums(now)
    votes, ending = db.session.execute(sa.select(sums.votes, sums.ending).select_from(Item).where(Item.id == item.id)).one()
    merged = merging.merged_into(item.id)
    return Case(
        item=item,
        votes=votes,
        value=value_of(item.id, now),
        ending=ending,
        voters=_voters(item.id, now),
        steps=reading.list_changes(item.id),
        comments=_comments([item.id, *(one.item.id for one in merged)]),
        merged=merged,
        merged_into=db.session.get(Item, item.merged_into_id) if item.merged_into_id is not None else None,
    )


def look_alikes(case: Case, staff: Viewer, *, now: datetime) -> list[LookAlike]:
    """Return items of the product that say something similar, but for those that staff found not the same.

    None for an item that is merged or decided on: by then somebody has looked.
    """
    item = case.item
    if item.merged_into_id is not None or item.status is not Status.UNDER_REVIEW:
        return []
    known = _not_alike(item.id) | {item.id}
    telling = " ".join(word for word in search.words_of(item.title) if len(word) >= TELLING_LETTERS)
    found = search.similar(staff, item.product_id, telling or item.title, limit=LOOK_ALIKES + len(known), now=now)
    others = [similar.item for similar in found if similar.item.id not in known][:LOOK_ALIKES]
    sums = merging.sums(item.id, [other.id for other in others], now)
    return [LookAlike(other, sums[other.id]) for other in others]


def _not_alike(item_id: int) -> set[int]:
    pairs = db.session.execute(
        sa.select(NotAlike.low_id, NotAlike.high_id).where(sa.or_(NotAlike.low_id == item_id, NotAlike.high_id == item_id))
    )
    return {other for pair in pairs for other in pair}


def value_of(item_id: int, now: datetime) -> Value:
    """Return what the contracts that vote for an item pay a year, by currency. The vendor's own is counted already; few pay in others."""
    sums = tallies.sums(now)
    value: Value = defaultdict(int)
    if cents := db.session.scalar(sa.select(sums.cents).select_from(Item).where(Item.id == item_id)):
        value[sums.currency] = cents
    in_others = Term.currency != sums.currency
    if not db.session.scalar(sa.select(sa.exists().where(in_others))):
        return dict(value)
    running = live_contracts(now).add_columns(Term.id.label("term_id")).subquery()
    kinds = (Term.currency, Term.price_cents, Term.starts_on, Term.ends_on)
    rows = db.session.execute(
        sa.select(*kinds, sa.func.count())
        .select_from(Vote)
        .join(running, running.c.id == Vote.contract_id)
        .join(Term, Term.id == running.c.term_id)
        .where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None), in_others)
        .group_by(*kinds)
        .order_by(Term.currency)
    )
    for currency, price, starts_on, ends_on, number in rows:
        value[currency] += number * tallies.yearly_cents(price, starts_on, ends_on)
    return dict(value)


def _voters(item_id: int, now: datetime) -> list[Voter]:
    """The contracts whose vote counts, the latest first."""
    running = live_contracts(now).add_columns(Term.id.label("term_id")).subquery()
    latest = (  # found before anything is looked up for them
        sa.select(Vote.id, running.c.term_id)
        .join(running, running.c.id == Vote.contract_id)
        .where(Vote.item_id == item_id, Vote.withdrawn_at.is_(None))
        .order_by(Vote.id.desc())
        .limit(VOTERS_SHOWN)
        .subquery()
    )
    last_day = sa.select(sa.func.max(Term.ends_on)).where(Term.contract_id == Vote.contract_id).correlate(Vote).scalar_subquery()
    rows = db.session.execute(
        sa.select(Vote, Term, last_day)
        .join(latest, latest.c.id == Vote.id)
        .join(Term, Term.id == latest.c.term_id)
        .options(joinedload(Vote.user), joinedload(Vote.contract).joinedload(Contract.organization), joinedload(Vote.copy_of))
        .order_by(Vote.id.desc())
    )
    soon: dict[str, date] = {}
    voters = []
    for vote, term, last in rows:
        zone = vote.contract.time_zone
        if zone not in soon:
            soon[zone] = civil_date(now, zone) + tallies.ENDS_SOON
        voters.append(Voter(vote, term, last, last <= soon[zone]))
    return voters


def _comments(item_ids: list[int]) -> list[Comment]:
    """What was said of these items, notes of the staff included, the latest first."""
    return list(
        db.session.scalars(
            sa.select(Comment)
            .where(Comment.item_id.in_(item_ids))
            .options(joinedload(Comment.author), joinedload(Comment.organization))
            .order_by(Comment.id.desc())
            .limit(COMMENTS_SHOWN)
        )
    )


def _find(item_id: int) -> Item:
    item = None
    if 0 < item_id <= LARGEST_ID:
        item = db.session.scalar(
            sa.select(Item)
            .where(Item.id == item_id)
            .options(
                joinedload(Item.author), joinedload(Item.organization), joinedload(Item.release), joinedload(Item.assignee),
                selectinload(Item.tags),
            )
        )  # fmt: skip
    if item is None:
        raise NotFound("There is no such feedback.")
    return item
