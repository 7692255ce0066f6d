"""The numbers that lists are sorted by are those of the moment: through lapses, renewals, suspensions, midnights and corrections."""

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from portal.account import contracts
from portal.account.contracts import ContractState
from portal.account.models import Contract, Term
from portal.account.orders import Order
from portal.clock import civil_date
from portal.database import db, transaction
from portal.errors import Busy, PortalError
from portal.feedback import tallies, votes
from portal.feedback.models import Item, Vote
from portal.feedback.tally_models import TallyState
from tests.board import contract, merge, suspended, unmerge, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")

Numbers = dict[int, tuple[int, int, int]]


def told(now: datetime = NOW) -> Numbers:
    """Votes, cents and ending contracts of each item, as lists are given them."""
    sums = tallies.sums(now)
    rows = db.session.execute(sa.select(Item.id, sums.votes, sums.cents, sums.ending))
    return {item_id: (count, cents, ending) for item_id, count, cents, ending in rows}


def recounted(now: datetime = NOW) -> Numbers:
    """The same, added up vote by vote from what each contract says of itself."""
    numbers: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for given in db.session.scalars(sa.select(Vote).where(Vote.withdrawn_at.is_(None)).execution_options(populate_existing=True)):
        voter = db.session.get_one(Contract, given.contract_id, populate_existing=True)
        stands = contracts.standing(voter, now)
        if stands.state is ContractState.ACTIVE and stands.term is not None:
            term, last = stands.term, voter.terms[-1].ends_on
            in_dollars = tallies.yearly_cents(term.price_cents, term.starts_on, term.ends_on) if term.currency == "USD" else 0
            sums = (1, in_dollars, int(last <= stands.today + timedelta(days=90)))
            numbers[given.item_id] = [sum(pair) for pair in zip(numbers[given.item_id], sums, strict=True)]
    items = db.session.scalars(sa.select(Item.id))
    return {item_id: (numbers[item_id][0], numbers[item_id][1], numbers[item_id][2]) for item_id in items}


def refresh(now: datetime = NOW) -> int:
    with transaction():
        return tallies.refresh(now)


def stored() -> list[int]:
    return list(db.session.scalars(sa.select(Item.tally_votes).order_by(Item.id)))


def test_votes_and_withdrawals_count_at_once_whether_or_not_the_tallies_are_current(cast: Cast) -> None:
    for _ in range(2):
        item_id = write(cast.alice)
        vote(cast.carol, item_id)
        assert told()[item_id] == (2, 99_000, 0)
        with transaction():
            votes.withdraw(viewer(cast.bob), item_id, now=NOW)
        assert told()[item_id] == (1, 49_500, 0)
        refresh()
        assert tallies.is_current(NOW)
    assert stored() == [1, 1]


def test_a_suspension_counts_in_the_transaction_that_makes_it_and_after(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    refresh()
    with transaction():
        contracts.suspend(contract(cast.other_contract), actor=None, now=NOW)
        assert told()[item_id][0] == 1
    assert not tallies.is_current(NOW)
    assert told()[item_id][0] == 1
    assert (refresh(), stored(), refresh()) == (1, [1], 0)
    with transaction():
        contracts.resume(contract(cast.other_contract), actor=None, now=NOW)
    assert told()[item_id][0] == 2
    assert (refresh(), stored()) == (1, [2])


def test_a_list_that_is_asked_for_while_the_worker_recounts_shifts_nothing_twice(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    refresh()
    with transaction():
        contracts.suspend(contract(cast.other_contract), actor=None, now=NOW)
    sums = tallies.sums(NOW)
    refresh()
    assert db.session.execute(sa.select(sums.votes, sums.cents, sums.ending)).one() == (1, 49_500, 0)


def test_a_change_that_is_rolled_back_leaves_the_tallies_current(cast: Cast) -> None:
    refresh()
    with pytest.raises(RuntimeError):
        _suspend_and_fail(cast)
    assert tallies.is_current(NOW)


def _suspend_and_fail(cast: Cast) -> None:
    with transaction():
        contracts.suspend(contract(cast.contract), actor=None, now=NOW)
        raise RuntimeError


def test_a_vote_stops_counting_at_midnight_in_the_contract_s_zone_and_a_renewal_brings_it_back(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    with transaction():
        carols = contract(cast.other_contract)
        carols.time_zone, carols.terms[-1].ends_on = "America/New_York", NOW.date()
    refresh()
    midnight = NOW.replace(hour=5, minute=0) + timedelta(days=1)  # New York is five hours behind
    before, after = midnight - timedelta(seconds=1), midnight
    for _ in range(2):  # as the worker left it in the morning, then as it leaves it just before
        assert told(before)[item_id][0] == 2
        assert told(after)[item_id][0] == 1
        refresh(before)
        assert tallies.is_current(before)
        assert not tallies.is_current(after)
    refresh(after)
    assert stored() == [1]
    with transaction():
        contracts.renew(contract(cast.other_contract), actor=None, now=after)
    assert told(after)[item_id][0] == 2
    assert told(before)[item_id][0] == 2


def test_a_contract_soon_ends_from_ninety_days_before_its_last_day_until_it_is_renewed(cast: Cast) -> None:
    item_id = write(cast.alice)
    last = contract(cast.contract).terms[-1].ends_on
    ninety_days = NOW + (last - NOW.date()) - timedelta(days=90)
    refresh()
    assert [told(ninety_days + timedelta(days=days))[item_id] for days in (-1, 0)] == [(1, 49_500, 0), (1, 49_500, 1)]
    with transaction():
        contracts.renew(contract(cast.contract), actor=None, now=ninety_days)
    assert told(ninety_days)[item_id] == (1, 49_500, 0)


def test_value_is_that_of_a_year_in_the_vendor_s_currency(cast: Cast) -> None:
    item_id = write(cast.alice)
    vote(cast.carol, item_id)
    refresh()
    with transaction():
        alices, carols = contract(cast.contract), contract(cast.other_contract)
        contracts.change_order(alices, alices.terms[-1].id, Order(60_000, "EUR"), actor=None, now=NOW)
        contracts.change_order(carols, carols.terms[-1].id, Order(120_000, "USD"), actor=None, now=NOW)
    assert told()[item_id] == (2, 120_000, 0)
    with transaction():
        term = contract(cast.other_contract).terms[-1]
        term.ends_on = term.starts_on + timedelta(days=730)
    assert told()[item_id] == (2, 60_000, 0)
    assert refresh() == 2
    assert told()[item_id] == (2, 60_000, 0)


def test_what_is_changed_in_bulk_counts_too_and_what_is_changed_by_hand_is_found_by_the_audit(cast: Cast) -> None:
    item_id = write(cast.alice)
    refresh()
    with transaction():
        db.session.execute(sa.update(Contract).where(Contract.number == cast.contract).values(suspended_at=NOW))
    assert told()[item_id][0] == 0
    refresh()
    with transaction():
        db.session.execute(sa.text("UPDATE contracts SET suspended_at = NULL"))
    assert told()[item_id][0] == 0
    with transaction():
        assert tallies.audit(NOW) == 1
    assert told()[item_id][0] == 1
    with transaction():
        db.session.execute(sa.update(Item).values(tally_votes=77))
        tallies.rebuild(NOW)
    assert stored() == [1]


def test_reading_asks_once_whether_the_tallies_are_current(cast: Cast) -> None:
    write(cast.alice)
    refresh()
    state = db.session.get_one(TallyState, 1)
    assert state.until is not None
    assert state.since is not None
    # Berlin's midnights, an hour before Greenwich's: the cast's contracts are in that zone.
    assert (state.since, state.until) == (NOW.replace(hour=0), NOW.replace(hour=23))
    with suspended(cast.contract):
        assert db.session.scalar(sa.select(TallyState.until)) is None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_recount_gives_way_to_whoever_votes_and_is_made_up_for(cast: Cast) -> None:
    item_id = write(cast.alice)
    refresh()
    with transaction():
        contracts.suspend(contract(cast.contract), actor=None, now=NOW)
    with db.engine.begin() as other:
        other.execute(sa.select(Item.id).where(Item.id == item_id).with_for_update())
        with pytest.raises(Busy):
            refresh()
        assert told()[item_id][0] == 0
    assert (refresh(), stored()) == (1, [0])


@pytest.mark.parametrize("seed", [1, 2])
def test_through_whatever_happens_they_equal_a_recount(cast: Cast, seed: int) -> None:
    """Votes, withdrawals, merges, suspensions, renewals, corrections and days that pass, in any order; the worker looks in at times."""
    dice = random.Random(seed)
    numbers = [cast.contract, cast.other_contract, cast.lapsed_contract]
    voters = [cast.alice, cast.bob, cast.carol, cast.dave]
    items = [write(email, f"Idea of {email}") for email in voters[:3]]
    now = NOW

    def on_contract(act: Callable[[Contract], object]) -> None:
        with transaction():
            act(contract(dice.choice(numbers)))

    def withdraw() -> None:
        with transaction():
            votes.withdraw(viewer(dice.choice(voters), now), dice.choice(items), now=now)

    def correct(changed: Contract) -> None:
        term: Term = dice.choice(changed.terms)
        contracts.change_order(changed, term.id, Order(dice.randrange(90_000), dice.choice(["USD", "EUR"])), actor=None, now=now)

    acts: list[Callable[[], object]] = [
        lambda: vote(dice.choice(voters), dice.choice(items), now),
        lambda: vote(dice.choice(voters), dice.choice(items), now),
        withdraw,
        lambda: merge(dice.choice(items), dice.choice(items)),
        lambda: unmerge(dice.choice(items)),
        lambda: on_contract(lambda one: contracts.suspend(one, actor=None, now=now)),
        lambda: on_contract(lambda one: contracts.resume(one, actor=None, now=now)),
        lambda: on_contract(lambda one: contracts.renew(one, actor=None, now=now)),
        lambda: on_contract(correct),
        lambda: refresh(now),
    ]
    for _ in range(60):
        if dice.random() < 0.2:
            now += timedelta(hours=dice.choice([1, 7, 24, 24 * 40, 24 * 130]))
        try:
            dice.choice(acts)()
        except PortalError:
            continue
        assert told(now) == recounted(now)
    refresh(now)
    assert tallies.is_current(now)
    assert told(now) == recounted(now)
    assert civil_date(now, "UTC") > NOW.date()
