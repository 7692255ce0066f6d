"""Terms and renewals, whenever they are made: no gap, no overlap, no drift, nothing backdated."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from portal.account.contracts import next_term, standing, term_end
from portal.account.models import Contract, Term
from portal.clock import civil_date

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Beirut"]
LEAP_DAY = date(2028, 2, 29)

starts = st.one_of(st.dates(date(2000, 1, 1), date(2060, 12, 31)), st.sampled_from([date(2024, 2, 29), LEAP_DAY, date(2027, 2, 28)]))
# Days by which each renewal comes before (negative) or after the last day of the contract.
delays = st.lists(st.one_of(st.integers(-400, 400), st.sampled_from([-1, 0, 1, 2])), min_size=1, max_size=12)


def made(start: date, zone: str, ends_on: date | None = None) -> Contract:
    return Contract(number="NW-1", time_zone=zone, terms=[Term(starts_on=start, ends_on=ends_on or term_end(start, 1))])


def noon(day: date) -> datetime:
    """An instant at which every calendar but the outermost shows `day`."""
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@given(start=starts, delays=delays, zone=st.sampled_from(ZONES), hour=st.integers(0, 23))
@example(start=LEAP_DAY, delays=[-30] * 8, zone="Europe/Berlin", hour=0)
@example(start=LEAP_DAY, delays=[1, 2, 1, 2], zone="America/Havana", hour=23)
def test_each_renewal_follows_on_or_starts_today(start: date, delays: list[int], zone: str, hour: int) -> None:
    contract = made(start, zone)
    for delay in delays:
        last = contract.terms[-1]
        now = noon(last.ends_on + timedelta(days=delay)).replace(hour=hour)
        today = civil_date(now, zone)
        begin, end = next_term(contract, now)
        if last.ends_on + timedelta(days=1) >= today:
            assert begin == last.ends_on + timedelta(days=1), "an early renewal follows on without a gap"
        else:
            assert begin == today, "a late one starts today, and nothing is made up for"
        assert (end - begin).days in (364, 365), "twelve months"
        contract.terms.append(Term(starts_on=begin, ends_on=end))
        if begin <= today:
            assert standing(contract, now).state == "active"
    assert all(one.ends_on < two.starts_on for one, two in zip(contract.terms, contract.terms[1:], strict=False)), "no overlap"


@given(start=starts, count=st.integers(1, 40))
@example(start=LEAP_DAY, count=12)
def test_renewals_in_time_never_drift_from_the_first_day(start: date, count: int) -> None:
    contract = made(start, "UTC")
    for _ in range(count):
        now = noon(contract.terms[-1].ends_on - timedelta(days=40))
        contract.terms.append(Term(**dict(zip(("starts_on", "ends_on"), next_term(contract, now), strict=True))))
    for number, term in enumerate(contract.terms):
        year = start.year + number
        leap = (start.month, start.day) == (2, 29) and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
        assert term.starts_on == (date(year, 3, 1) if leap else start.replace(year=year))


@given(start=starts, length=st.integers(1, 2000), count=st.integers(1, 5))
def test_an_odd_term_from_another_system_is_followed_by_whole_years(start: date, length: int, count: int) -> None:
    contract = made(start, "UTC", start + timedelta(days=length))
    for _ in range(count):
        begin, end = next_term(contract, noon(contract.terms[-1].ends_on))
        assert begin == contract.terms[-1].ends_on + timedelta(days=1)
        assert (end - begin).days in (364, 365)
        contract.terms.append(Term(starts_on=begin, ends_on=end))


@given(start=starts, delay=st.integers(-400, 400), zone=st.sampled_from(ZONES), hour=st.integers(0, 23))
def test_a_clock_two_hours_back_offers_the_same_term_or_one_that_starts_a_day_earlier(
    start: date, delay: int, zone: str, hour: int
) -> None:
    """It never offers one that overlaps what is there, and a term that was added then stays as it is."""
    contract = made(start, zone)
    now = noon(contract.terms[-1].ends_on + timedelta(days=delay)).replace(hour=hour)
    there, back = next_term(contract, now), next_term(contract, now - timedelta(hours=2))
    assert timedelta() <= there[0] - back[0] <= timedelta(days=1)
    contract.terms.append(Term(starts_on=there[0], ends_on=there[1]))
    again = next_term(contract, now - timedelta(hours=2))
    assert again[0] == there[1] + timedelta(days=1)
