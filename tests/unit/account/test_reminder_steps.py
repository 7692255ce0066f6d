"""Which reminder of a contract's end applies on which day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.account.contracts import term_end
from portal.account.reminders import STEPS, step_at

STARTS = st.dates(date(2000, 1, 1), date(2150, 12, 31)) | st.sampled_from([date(2028, 2, 29), date(2027, 3, 1), date(2096, 2, 29)])


def days_with_steps(starts_on: date, ends_on: date) -> dict[int, list[int]]:
    """For each step, how many days before the end it applies, over the whole term and a week around it."""
    found: dict[int, list[int]] = {}
    for number in range((ends_on - starts_on).days + 14):
        today = starts_on - timedelta(days=7) + timedelta(days=number)
        step = step_at(starts_on, ends_on, today)
        if step is not None:
            found.setdefault(step, []).append((ends_on - today).days)
    return found


@given(STARTS)
def test_a_year_has_five_steps_that_follow_each_other_without_a_gap(starts_on: date) -> None:
    applies = days_with_steps(starts_on, term_end(starts_on, 1))
    assert {step: (days[0], days[-1]) for step, days in applies.items()} == {90: (90, 61), 60: (60, 31), 30: (30, 8), 7: (7, 1), 0: (0, 0)}


@given(STARTS, st.integers(0, 1200))
def test_a_step_never_applies_on_the_first_day_nor_outside_the_term(starts_on: date, length: int) -> None:
    ends_on = starts_on + timedelta(days=length)
    applies = days_with_steps(starts_on, ends_on)
    assert set(applies) == {step for step in STEPS if step < length}
    assert all(0 <= left < length for days in applies.values() for left in days)


@pytest.mark.parametrize(
    ("starts_on", "ends_on", "today", "step"),
    [
        (date(2027, 3, 1), date(2028, 2, 29), date(2027, 11, 30), None),
        (date(2027, 3, 1), date(2028, 2, 29), date(2027, 12, 1), 90),
        (date(2027, 3, 1), date(2028, 2, 29), date(2028, 2, 28), 7),
        (date(2027, 3, 1), date(2028, 2, 29), date(2028, 2, 29), 0),
        (date(2027, 3, 1), date(2028, 2, 29), date(2028, 3, 1), None),
        (date(2028, 2, 29), date(2029, 2, 28), date(2028, 11, 30), 90),
        (date(2026, 1, 1), date(2026, 12, 31), date(2026, 12, 24), 7),
        (date(2026, 1, 1), date(2026, 1, 31), date(2026, 1, 1), None),
        (date(2026, 1, 1), date(2026, 1, 31), date(2026, 1, 24), 7),
        (date(2026, 1, 1), date(2026, 1, 1), date(2026, 1, 1), None),
    ],
)
def test_the_days_of_single_terms(starts_on: date, ends_on: date, today: date, step: int | None) -> None:
    assert step_at(starts_on, ends_on, today) == step
