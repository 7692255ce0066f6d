"""Contracts end at midnight of their zone, renew without drift, and refuse what makes no sense."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from portal.account import contracts
from portal.account.contracts import ContractState, standing
from portal.account.entitlements import Benefit, Reason, decide
from portal.account.models import Contract, Suspension, User
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound, PortalError
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def sell(starts_on: date, ends_on: date | None = None, *, zone: str = "Europe/Berlin", number: str = "NW-9000") -> Contract:
    with transaction():
        buyer = contracts.find_or_create_organization("Example Garden", actor=None, now=NOW)
        product = db.session.scalars(sa.select(Product).order_by(Product.id)).first()
        assert product is not None
        return contracts.create_contract(number, buyer, product, starts_on, ends_on=ends_on, time_zone=zone, actor=None, now=NOW)


def terms_of(contract: Contract) -> list[tuple[date, date]]:
    return [(term.starts_on, term.ends_on) for term in contract.terms]


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("Europe/Berlin", datetime(2026, 11, 30, 23, 0, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 12, 1, 5, 0, tzinfo=UTC)),
        ("Pacific/Kiritimati", datetime(2026, 11, 30, 10, 0, tzinfo=UTC)),
    ],
)
def test_a_contract_expires_at_midnight_of_its_zone(cast: Cast, zone: str, midnight: datetime) -> None:
    contract = sell(date(2025, 12, 1), date(2026, 11, 30), zone=zone)
    assert standing(contract, midnight - timedelta(seconds=1)).state is ContractState.ACTIVE
    assert standing(contract, midnight).state is ContractState.EXPIRED
    with transaction():
        alice = db.session.scalars(sa.select(User).where(User.email == cast.alice)).one()
        contract = contracts.find_contract(cast.contract)
        contract.time_zone, contract.terms[0].starts_on, contract.terms[0].ends_on = zone, date(2025, 12, 1), date(2026, 11, 30)
    assert decide(alice, Benefit.BETAS, contract.product, midnight - timedelta(seconds=1)).allowed
    assert decide(alice, Benefit.BETAS, contract.product, midnight).reason is Reason.EXPIRED


def test_early_renewals_follow_without_gap_and_keep_the_anniversary(cast: Cast) -> None:
    contract = sell(date(2024, 2, 29))
    for _ in range(4):
        with transaction():
            contracts.renew(contract, actor=None, now=datetime(2024, 6, 1, tzinfo=UTC))
    assert terms_of(contract) == [
        (date(2024, 2, 29), date(2025, 2, 28)),
        (date(2025, 3, 1), date(2026, 2, 28)),
        (date(2026, 3, 1), date(2027, 2, 28)),
        (date(2027, 3, 1), date(2028, 2, 28)),
        (date(2028, 2, 29), date(2029, 2, 28)),
    ]


def test_a_late_renewal_starts_today_and_counts_from_there(cast: Cast) -> None:
    contract = sell(date(2024, 1, 10))
    with transaction():
        contracts.renew(contract, actor=None, now=NOW)
        contracts.renew(contract, actor=None, now=NOW)
    assert terms_of(contract)[1:] == [(date(2026, 11, 24), date(2027, 11, 23)), (date(2027, 11, 24), date(2028, 11, 23))]


def test_the_next_term_is_known_before_it_is_added(cast: Cast) -> None:
    contract = sell(date(2026, 3, 1))
    assert contracts.next_term(contract, NOW) == (date(2027, 3, 1), date(2028, 2, 29))
    with transaction():
        contracts.renew(contract, starts_on=date(2027, 3, 1), actor=None, now=NOW)
    with pytest.raises(Conflict, match="29 February 2028"), transaction():
        contracts.renew(contract, starts_on=date(2027, 3, 1), actor=None, now=NOW)
    assert len(terms_of(contract)) == 2


def test_a_number_or_a_name_in_other_capitals_is_the_same(cast: Cast) -> None:
    organization = sell(date(2026, 3, 1)).organization
    with transaction():
        assert contracts.find_or_create_organization("EXAMPLE garden", actor=None, now=NOW).id == organization.id
    with pytest.raises(Invalid, match="NW-9000"):
        sell(date(2026, 3, 1), number="nw-9000")


def test_an_imported_longer_term_renews_by_twelve_months_from_its_end(cast: Cast) -> None:
    contract = sell(date(2025, 1, 1), date(2027, 6, 30))
    with transaction():
        contracts.renew(contract, actor=None, now=NOW)
    assert terms_of(contract)[1] == (date(2027, 7, 1), date(2028, 6, 30))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ends_on": date(2026, 1, 1)}, "ends_on"),
        ({"zone": "Europe/Atlantis"}, "time_zone"),
        ({"number": "NW 9/1"}, "number"),
        ({"number": "new"}, "number"),
        ({"number": ""}, "number"),
        ({"number": "NW-2041"}, "number"),
        ({"starts_on": date(9999, 12, 31)}, "starts_on"),
        ({"ends_on": date(9999, 12, 31)}, "ends_on"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_field(cast: Cast, changes: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        sell(**{"starts_on": date(2026, 11, 1), **changes})  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_acts_that_do_not_fit_the_state_are_refused(cast: Cast) -> None:
    contract = sell(date(2026, 1, 1))

    def act(name: str) -> PortalError | None:
        try:
            with transaction():
                getattr(contracts, name)(contract, actor=None, now=NOW)
        except Conflict as refusal:
            return refusal
        return None

    outcomes = [(name, act(name) is None) for name in ("resume", "suspend", "suspend", "resume", "cancel", "cancel", "resume", "renew")]
    assert [done for _, done in outcomes] == [False, True, False, True, True, False, False, False]


@pytest.mark.parametrize("number", ["NW-0000", "", "a\x00b", "x" * 500])
def test_an_unknown_number_is_not_found(cast: Cast, number: str) -> None:
    with pytest.raises(NotFound):
        contracts.find_contract(number)


def test_cancelling_ends_a_suspension_too(cast: Cast) -> None:
    """Nobody is told that somebody could resume what is over for good."""
    alice = db.session.scalars(sa.select(User).where(User.email == cast.alice)).one()
    contract = contracts.contracts_of(alice)[0]
    for act, later in ((contracts.suspend, 1), (contracts.cancel, 2)):
        with transaction():
            act(contract, actor=None, now=NOW + timedelta(hours=later))
    assert decide(alice, Benefit.BETAS, contract.product, NOW + timedelta(hours=3)).reason is Reason.CANCELLED
    over = db.session.scalars(sa.select(Suspension)).one()
    assert (over.suspended_at, over.resumed_at) == (NOW + timedelta(hours=1), NOW + timedelta(hours=2))
