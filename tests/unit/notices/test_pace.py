"""How the speed of a notice is put into words."""

import pytest

from portal.notices.progress import Pace


@pytest.mark.parametrize(
    ("settled", "seconds", "waiting", "words"),
    [
        (2280, 60.0, 6840, "38 a second, about 3 minutes left"),
        (250_000, 60.0, 1000, "4,200 a second, a few seconds left"),
        (60, 60.0, 44, "1 a second, about 40 seconds left"),
        (12, 60.0, 12, "12 a minute, about 1 minute left"),
        (10, 60.0, 3000, "10 a minute, about 5 hours left"),
        (10, 60.0, 100_000, "10 a minute, about 7 days left"),
        (600, 10.0, 0, "60 a second, a few seconds left"),
    ],
)
def test_the_pace_is_rounded_to_what_a_person_can_use(settled: int, seconds: float, waiting: int, words: str) -> None:
    assert Pace(settled, seconds, waiting).words == words
