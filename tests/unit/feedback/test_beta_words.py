"""What counts as beta text, and when an item was in a beta."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.feedback.access import beta_times, names_beta
from portal.feedback.models import Status, StatusChange
from portal.text import defuse

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("version", ["15.3b2", "15.3 beta 2", "15.3rc1", "16.0a1", "next beta", "15.3.dev4"])
def test_versions_of_betas_are_recognised_however_they_are_written(version: str) -> None:
    assert names_beta(version)


@pytest.mark.parametrize("version", ["15.4", "15.3.1", "2027", "", "first half of 2027"])
def test_stable_versions_and_plain_words_are_no_betas(version: str) -> None:
    assert not names_beta(version)


def _path(*statuses: Status) -> list[StatusChange]:
    return [StatusChange(status=status, at=START + timedelta(days=day)) for day, status in enumerate(statuses)]


def test_the_time_in_a_beta_ends_with_the_next_other_status() -> None:
    path = _path(Status.PLANNED, Status.IN_BETA, Status.IN_BETA, Status.SHIPPED)
    assert beta_times(path) == [(START + timedelta(days=1), START + timedelta(days=3))]


def test_an_item_still_in_a_beta_has_no_end_of_it() -> None:
    assert beta_times(_path(Status.IN_BETA, Status.PLANNED, Status.IN_BETA)) == [
        (START, START + timedelta(days=1)),
        (START + timedelta(days=2), None),
    ]
    assert beta_times(_path(Status.PLANNED)) == []


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_cells_a_spreadsheet_would_run_are_defused(cell: str) -> None:
    assert defuse(cell) == "'" + cell
    assert defuse("a" + cell) == "a" + cell
