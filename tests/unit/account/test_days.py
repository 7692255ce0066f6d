"""Days of a zone's calendar, whatever its clocks do in the night."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.account.past import bounds
from portal.clock import civil_date

ZONES = [
    "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Africa/Cairo", "Australia/Lord_Howe",
    "Pacific/Apia", "Pacific/Chatham", "Asia/Kathmandu", "UTC",
]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2027, 3, 28), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
        (date(2026, 11, 24), "Europe/Berlin", 24),
        (date(2026, 3, 29), "Asia/Beirut", 23),  # its clocks go from midnight to one
        (date(2026, 11, 1), "America/Havana", 25),  # midnight comes twice
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
    ],
)
def test_a_day_is_as_long_as_its_clocks_make_it(day: date, zone: str, hours: float) -> None:
    first, after = bounds(day, zone)
    assert (after - first).total_seconds() == hours * 3600


@given(day=st.dates(date(1995, 1, 1), date(2037, 12, 30)), zone=st.sampled_from(ZONES))
def test_days_follow_each_other_and_hold_the_instants_of_their_date(day: date, zone: str) -> None:
    first, after = bounds(day, zone)
    assert after == bounds(day + timedelta(days=1), zone)[0]
    if first < after:  # Samoa had no 30 December 2011
        assert civil_date(first, zone) == day
        assert civil_date(after - timedelta(microseconds=1), zone) == day
    assert civil_date(first - timedelta(microseconds=1), zone) < day
    assert civil_date(after, zone) > day


@given(seconds=st.integers(0, 43 * 366 * 86_400), zone=st.sampled_from(ZONES))
def test_an_instant_lies_in_the_day_that_its_clocks_show(seconds: int, zone: str) -> None:
    instant = datetime(1995, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    first, after = bounds(civil_date(instant, zone), zone)
    assert first <= instant < after
