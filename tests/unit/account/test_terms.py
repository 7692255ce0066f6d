"""The last day of a twelve-month term, and that renewals do not drift."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.account.contracts import term_end


@pytest.mark.parametrize(
    ("start", "number", "end"),
    [
        (date(2026, 4, 1), 1, date(2027, 3, 31)),
        (date(2026, 1, 1), 1, date(2026, 12, 31)),
        (date(2027, 3, 1), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 1, date(2029, 2, 28)),
        (date(2028, 2, 29), 2, date(2030, 2, 28)),
        (date(2028, 2, 29), 4, date(2032, 2, 28)),
        (date(2024, 3, 31), 3, date(2027, 3, 30)),
    ],
)
def test_a_term_ends_the_day_before_the_anniversary(start: date, number: int, end: date) -> None:
    assert term_end(start, number) == end


@given(start=st.dates(date(2000, 1, 1), date(2100, 12, 31)), years=st.integers(1, 30))
def test_terms_in_a_row_leave_no_gap_and_never_drift(start: date, years: int) -> None:
    ends = [term_end(start, number) for number in range(1, years + 1)]
    starts = [start, *(end + timedelta(days=1) for end in ends[:-1])]
    assert all((end - begin).days in (364, 365) for begin, end in zip(starts, ends, strict=True))
    anniversary = ends[-1] + timedelta(days=1)
    assert (anniversary.month, anniversary.day) in ((start.month, start.day), (3, 1))
