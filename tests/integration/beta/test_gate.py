"""The gate decides for the product, from person, seat and contract alone."""

from datetime import date, datetime

import pytest

from portal.account.entitlements import Benefit, Reason, decide_for_any
from portal.beta import access
from portal.products.catalog import find_product
from portal.releases.catalog import newest_stable
from portal.releases.gate import gate
from portal.releases.models import Channel, Release
from tests.builds import find_seat, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def test_staff_of_betas_pass_under_no_contract(cast: Cast) -> None:
    product = find_product(cast.product)
    decisions = {email: gate(find_user(email), product, NOW) for email in (cast.paula, cast.petra, cast.ada, cast.anton)}
    assert {email: decision.allowed for email, decision in decisions.items()} == {
        cast.paula: True, cast.petra: True, cast.ada: True, cast.anton: False,
    }  # fmt: skip
    assert access.party_of(decisions[cast.paula]) is None


def test_staff_whose_account_is_closed_do_not_pass(cast: Cast) -> None:
    paula = find_user(cast.paula)
    paula.active = False
    assert gate(paula, find_product(cast.product), NOW).reason is Reason.ACCOUNT_CLOSED


def test_a_contact_passes_on_behalf_of_the_organisation(cast: Cast) -> None:
    decision = gate(find_user(cast.alice), find_product(cast.product), NOW)
    party = access.party_of(decision)
    assert party is not None
    assert (party.organization_name, party.time_zone) == ("Example Logistics", "Europe/Berlin")


def test_a_token_gives_what_its_own_seat_gives(cast: Cast) -> None:
    """Carol's seat does not open for alice, and alice's does."""
    product, alice = find_product(cast.product), find_user(cast.alice)
    assert gate(alice, product, NOW, contact_id=find_seat(cast.alice).id).allowed
    assert not gate(alice, product, NOW, contact_id=find_seat(cast.carol).id).allowed


@pytest.mark.parametrize(
    ("zone", "instant", "expired"),
    [
        ("Europe/Berlin", datetime.fromisoformat("2027-01-31T22:59:00+00:00"), False),
        ("Europe/Berlin", datetime.fromisoformat("2027-01-31T23:00:00+00:00"), True),
        ("America/New_York", datetime.fromisoformat("2027-02-01T04:59:00+00:00"), False),
        ("America/New_York", datetime.fromisoformat("2027-02-01T05:00:00+00:00"), True),
    ],
)
def test_a_beta_runs_until_the_end_of_its_last_day_on_the_contracts_calendar(zone: str, instant: datetime, expired: bool) -> None:
    assert access.has_expired(Release(expires_on=date(2027, 1, 31)), zone, instant) is expired


def test_a_beta_without_a_last_day_does_not_expire() -> None:
    assert not access.has_expired(Release(expires_on=None), "Europe/Berlin", NOW)


def test_betas_whose_final_version_is_out_are_not_listed(cast: Cast) -> None:
    for version, channel in [("15.2b1", Channel.BETA), ("15.3b1", Channel.BETA), ("15.3b2", Channel.BETA), ("15.2", Channel.STABLE)]:
        publish_release(version, channel, NOW)
    betas = access.current_betas([find_product(cast.product)], newest_stable())
    assert [beta.version for beta in betas] == ["15.3b2", "15.3b1"]


def test_the_reason_for_all_products_is_that_of_the_seat_that_came_furthest(cast: Cast) -> None:
    expected = {cast.dave: Reason.EXPIRED, cast.erin: Reason.NO_CONTRACT, cast.alice: None, cast.frank: None}
    assert {email: decide_for_any(find_user(email), Benefit.BETAS, NOW).reason for email in expected} == expected
