"""The numbers that lists of items are sorted by: contracts that vote, their yearly value, how many of them soon end.

The truth is the votes, and the contracts that are in force at the moment somebody asks (`votes.counting`). Adding a million votes up
for each page takes too long, so each Item carries its sums (`tally_…`), and `feedback_counted_contracts` says which contracts are
in them. Both change together:
1. whoever changes votes calls `recount` in the same transaction;
2. `refresh` compares the counted contracts with those in force, and recounts the items that the difference votes for. The worker
   calls it a few seconds after a contract has changed, and after midnight in any zone of a contract.

Nobody has to wait for that to read right numbers. `feedback_tally_state` says from when to when the counted contracts are those in
force: between two midnights, unless a contract has changed, which takes `until` away in the transaction that changes it (the
listeners at the end of this module). Outside of that stretch `sums` adds to each tally what the contracts that differ
make up: slower, and as exact. Contracts changed by hand, past the session, are found by the hourly `audit`.

Locks, on PostgreSQL: who votes holds the state shared, `refresh` holds it alone, so no vote is counted by a set of contracts that
changes under it. `refresh` never waits for an item while it holds the state, it gives up and is called again; so it waits in no circle.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, aliased

from portal.account.entitlements import live_contracts
from portal.account.models import Contract, Term
from portal.clock import civil_date
from portal.config import current_settings
from portal.database import db
from portal.feedback.models import Item, Vote
from portal.feedback.tally_models import CountedContract, TallyState

ENDS_SOON = timedelta(days=90)
# From so many contracts on that differ, all items are recounted at once.
MANY = 1000
_TOUCHED = "portal_contracts_touched"


class Weight(NamedTuple):
    """What a contract adds to the tallies of an item that it votes for."""

    votes: int
    cents: int
    ending: int


@dataclass(frozen=True)
class Sums:
    """The numbers of an Item, as columns: contracts that vote, their value a year in hundredths of `currency`, and how many of them
    end within ENDS_SOON."""

    votes: sa.ColumnElement[int]
    cents: sa.ColumnElement[int]
    ending: sa.ColumnElement[int]
    currency: str


def sums(now: datetime) -> Sums:
    """Return the numbers of an Item as they are at `now`."""
    # The bare columns: a coerced one beside its Item in a SELECT would be taken for the Item's.
    stored: list[sa.ColumnElement[int]] = [column.expression for column in (Item.tally_votes, Item.tally_cents, Item.tally_ending)]
    currency = current_settings().contract_currency
    differing = {} if is_current(now) else _differing(now)
    if differing:
        stored = [column + shift for column, shift in zip(stored, _shifts(differing), strict=True)]
    # Labelled, so that a statement can select them beside the Item, whose columns they may be, and sort by them.
    contracts, cents, ending = (column.label(f"now_{name}") for column, name in zip(stored, Weight._fields, strict=True))
    return Sums(contracts, cents, ending, currency)


def is_current(now: datetime) -> bool:
    """Whether the counted contracts are those in force at `now`."""
    state = db.session.execute(sa.select(TallyState.since, TallyState.until, TallyState.currency)).one_or_none()
    if state is None or state.since is None or state.until is None or db.session().info.get(_TOUCHED):
        return False
    return bool(state.since <= now < state.until) and state.currency == current_settings().contract_currency


def _differing(now: datetime) -> dict[int, Weight]:
    """Return, by id, each contract that adds something else at `now` than the tallies count, with what it adds."""
    counted, right = _counted(), _weights(now)
    none = Weight(0, 0, 0)
    return {
        contract_id: right.get(contract_id, none)
        for contract_id in counted.keys() | right.keys()
        if counted.get(contract_id, none) != right.get(contract_id, none)
    }


def _shifts(right: dict[int, Weight]) -> list[sa.ColumnElement[int]]:
    """By how much the contracts that differ shift the tallies of an Item: by what they add, less what is counted of them.

    What is counted is read by the statement itself, so that one that comes after a `refresh` shifts nothing twice. The weights are
    numbers of ours, written out: there may be thousands.
    """
    columns = [sa.column("contract_id", sa.Integer), *(sa.column(name, sa.BigInteger) for name in Weight._fields)]
    added = sa.values(*columns, literal_binds=True).data([(contract_id, *weight) for contract_id, weight in right.items()])
    by_contract = added.cte()  # without a name: a statement may ask twice
    counted = {
        "votes": sa.case((CountedContract.contract_id.is_(None), 0), else_=1),
        "cents": sa.func.coalesce(CountedContract.yearly_cents, 0),
        "ending": sa.case((CountedContract.ending.is_(True), 1), else_=0),
    }
    live = sa.and_(Vote.item_id == Item.id, Vote.withdrawn_at.is_(None), Vote.contract_id == by_contract.c.contract_id)
    return [
        sa.select(sa.cast(sa.func.coalesce(sa.func.sum(by_contract.c[name] - counted[name]), 0), sa.BigInteger))
        .select_from(by_contract)
        .join(Vote, live)
        .outerjoin(CountedContract, CountedContract.contract_id == by_contract.c.contract_id)
        .correlate(Item)
        .scalar_subquery()
        for name in Weight._fields
    ]


def _counted() -> dict[int, Weight]:
    rows = db.session.execute(sa.select(CountedContract.contract_id, CountedContract.yearly_cents, CountedContract.ending))
    return {contract_id: Weight(1, cents, int(ending)) for contract_id, cents, ending in rows}


def _weights(now: datetime) -> dict[int, Weight]:
    """Return what each contract in force at `now` adds, by its id."""
    other = aliased(Term)
    last = sa.select(sa.func.max(other.ends_on)).where(other.contract_id == Contract.id).correlate(Contract).scalar_subquery()
    rows = db.session.execute(
        live_contracts(now).add_columns(Term.price_cents, Term.currency, Term.starts_on, Term.ends_on, Contract.time_zone, last)
    )
    currency = current_settings().contract_currency
    soon: dict[str, date] = {}
    weights = {}
    for contract_id, price, its_currency, starts_on, ends_on, zone, last_day in rows:
        if zone not in soon:
            soon[zone] = civil_date(now, zone) + ENDS_SOON
        cents = yearly_cents(price, starts_on, ends_on) if its_currency == currency else 0
        weights[contract_id] = Weight(1, cents, int(last_day <= soon[zone]))
    return weights


def yearly_cents(price_cents: int, starts_on: date, ends_on: date) -> int:
    """Return what a term costs for twelve months, rounded down; one of less than a month counts as a month."""
    months = max(1, round(((ends_on - starts_on).days + 1) * 12 / 365.2425))
    return price_cents * 12 // months


def recount(item_ids: Collection[int]) -> None:
    """Count the votes of these items again. Whoever has changed votes calls this afterwards, in the same transaction."""
    db.session.flush()
    _hold_state(shared=True)
    _hold_items(Item.id.in_(item_ids), wait=True)
    _recount(Item.id.in_(item_ids))


def refresh(now: datetime) -> int:
    """Make the tallies count the contracts that are in force at `now`. Returns how many contracts that concerned.

    Raises OperationalError where somebody else holds one of the items at the moment: call it again.
    """
    _hold_state(shared=False)
    if is_current(now):
        return 0
    return _make_current(now)


def audit(now: datetime) -> int:
    """Refresh, whether or not something is known to have changed: contracts may have been changed by hand, past the session."""
    _hold_state(shared=False)
    return _make_current(now)


def rebuild(now: datetime) -> None:
    """Count all votes anew, after items or votes were written in bulk."""
    audit(now)
    _hold_items(sa.true(), wait=False)
    _recount(sa.true())


def _make_current(now: datetime) -> int:
    db.session.flush()
    differing = _differing(now)
    state = db.session.get_one(TallyState, 1)
    ids = list(differing)
    for start in range(0, len(ids), MANY):  # a statement takes only so many values
        db.session.execute(sa.delete(CountedContract).where(CountedContract.contract_id.in_(ids[start : start + MANY])))
    added = [
        {"contract_id": contract_id, "yearly_cents": weight.cents, "ending": bool(weight.ending)}
        for contract_id, weight in differing.items()
        if weight.votes
    ]
    if added:
        db.session.execute(sa.insert(CountedContract), added)
    if differing:
        concerned = _voted_by(differing)
        _hold_items(concerned, wait=False)
        _recount(concerned)
    state.since, state.until = _midnights(now)
    state.currency = current_settings().contract_currency
    db.session.flush()
    return len(differing)


def _voted_by(contract_ids: Collection[int]) -> sa.ColumnElement[bool]:
    if len(contract_ids) > MANY:
        return sa.true()
    return Item.id.in_(sa.select(Vote.item_id).where(Vote.contract_id.in_(contract_ids), Vote.withdrawn_at.is_(None)))


def _hold_state(*, shared: bool) -> None:
    db.session.execute(sa.select(TallyState.id).with_for_update(read=shared))


def _hold_items(which: sa.ColumnElement[bool], *, wait: bool) -> None:
    """Lock the items, in one order, before their votes are read: on PostgreSQL a statement sees what was there when it began."""
    if db.engine.dialect.name == "postgresql":
        lock = sa.select(Item.id).where(which).order_by(Item.id).with_for_update(of=Item, key_share=True, nowait=not wait).subquery()
        db.session.execute(sa.select(sa.func.count()).select_from(lock))


def _recount(which: sa.ColumnElement[bool]) -> None:
    item, counted = aliased(Item), CountedContract
    right = (
        sa.select(
            item.id,
            sa.func.count(counted.contract_id).label("votes"),
            sa.func.coalesce(sa.func.sum(counted.yearly_cents), 0).label("cents"),
            sa.func.coalesce(sa.func.sum(sa.cast(counted.ending, sa.Integer)), 0).label("ending"),
        )
        .outerjoin(Vote, sa.and_(Vote.item_id == item.id, Vote.withdrawn_at.is_(None)))
        .outerjoin(counted, counted.contract_id == Vote.contract_id)
        .where(item.id.in_(sa.select(Item.id).where(which)))
        .group_by(item.id)
        .subquery()
    )
    differs = sa.or_(Item.tally_votes != right.c.votes, Item.tally_cents != right.c.cents, Item.tally_ending != right.c.ending)
    db.session.execute(
        sa.update(Item)
        .where(Item.id == right.c.id, differs)
        .values(tally_votes=right.c.votes, tally_cents=right.c.cents, tally_ending=right.c.ending)
        .execution_options(synchronize_session=False)
    )


def _midnights(now: datetime) -> tuple[datetime, datetime]:
    """Return the latest midnight up to `now` in any zone of a contract, and the next one after it: what days say holds between."""
    zones: Iterable[str] = [*db.session.scalars(sa.select(Contract.time_zone).distinct()), "UTC"]
    today = {zone: civil_date(now, zone) for zone in zones}
    since = max(_midnight(zone, day) for zone, day in today.items())
    until = min(_midnight(zone, day + timedelta(days=1)) for zone, day in today.items())
    return since, until


def _midnight(zone: str, day: date) -> datetime:
    """The instant at which a day begins. Where clocks skip midnight, that is the one they skip it at (PEP 495, fold 0)."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))


def _touch(mapper: Mapper[Any], connection: sa.Connection, target: Contract | Term) -> None:
    session = sa.orm.object_session(target)
    if session is not None:
        session.info[_TOUCHED] = True


for _model in (Contract, Term):
    for _change in ("after_insert", "after_update", "after_delete"):
        event.listen(_model, _change, _touch)


@event.listens_for(db.session, "do_orm_execute")
def _touch_in_bulk(state: ORMExecuteState) -> None:
    changes = state.is_insert or state.is_update or state.is_delete
    if changes and state.bind_mapper is not None and state.bind_mapper.class_ in {Contract, Term}:
        state.session.info[_TOUCHED] = True


@event.listens_for(db.session, "before_commit")
def _say_that_contracts_changed(session: Session) -> None:
    """Take the tallies' `until` away. Always written, not only where it stands: that waits for a `refresh` at work, and outlasts it.

    At the very end, since votes wait for it from then on.
    """
    if session.in_nested_transaction():
        return
    if session.new or session.dirty or session.deleted:
        session.flush()
    if session.info.get(_TOUCHED):
        session.execute(sa.update(TallyState).values(until=None).execution_options(synchronize_session=False))


@event.listens_for(db.session, "after_transaction_end")
def _forget(session: Session, ended: Any) -> None:
    if ended.parent is None:
        session.info.pop(_TOUCHED, None)
