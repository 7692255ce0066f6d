"""Tries are counted in the database: by any number of processes together, and by no address that could be read back."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from limits import parse

from portal import clock, rate_counts
from portal.config import Settings
from portal.database import db, transaction
from portal.rate_counts import DatabaseStorage, RateCount
from portal.web import limits
from tests.conftest import SECRET

LIMIT = "7 per minute"
TAKE = f"""
import sys
from pathlib import Path
from portal.app import create_app
from portal.config import Settings
from portal.web import limits
app = create_app(Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2], secret_key={SECRET!r}).check())
with app.app_context():
    print(sum(limits.take("test", {LIMIT!r}, "somebody") for _ in range(5)))
"""


@pytest.mark.usefixtures("app_context")
def test_a_window_counts_to_its_limit_and_begins_anew_when_it_is_over() -> None:
    assert [limits.take("test", "3 per minute", "me") for _ in range(5)] == [True, True, True, False, False]
    assert limits.take("test", "3 per minute", "you")
    assert limits.take("other", "3 per minute", "me")
    assert limits.is_spent("test", "3 per minute", "me")
    assert 1 <= limits.seconds_left("test", "3 per minute", "me") <= 60
    with transaction() as session:
        session.execute(sa.update(RateCount).values(expires_at=clock.now()))
    assert not limits.is_spent("test", "3 per minute", "me")
    assert limits.take("test", "3 per minute", "me")


@pytest.mark.usefixtures("app_context")
def test_what_is_given_back_can_be_taken_again() -> None:
    for _ in range(10):
        assert limits.take("test", "1 per minute", "me")
        limits.give_back("test", "1 per minute", "me")


@pytest.mark.usefixtures("app_context")
def test_what_is_given_back_late_adds_nothing_to_the_next_window() -> None:
    for _ in range(3):
        assert limits.take("test", "3 per minute", "me")
    with transaction() as session:
        session.execute(sa.update(RateCount).values(expires_at=clock.now()))
    for _ in range(3):
        limits.give_back("test", "3 per minute", "me")
        limits.give_back("test", "3 per minute", "you")
    assert db.session.scalar(sa.select(sa.func.min(RateCount.count))) == 0


def test_many_at_once_get_no_more_than_is_allowed(app: Flask) -> None:
    def take(_: int) -> bool:
        with app.app_context():
            return limits.take("test", LIMIT, "somebody")

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(24))) == 7


@pytest.mark.usefixtures("app")
def test_processes_count_together(settings: Settings) -> None:
    command = [sys.executable, "-c", TAKE, str(settings.data_dir), settings.database_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in running) == 7


@pytest.mark.usefixtures("app_context")
def test_no_address_stands_in_the_database_and_old_counts_are_swept() -> None:
    limits.take("test", LIMIT, "192.0.2.7")
    row = db.session.scalars(sa.select(RateCount)).one()
    assert "192.0.2.7" not in row.key_hash
    with transaction():
        assert rate_counts.sweep(clock.now()) == 0
        assert rate_counts.sweep(clock.now() + timedelta(minutes=2)) == 1


@pytest.mark.usefixtures("app_context")
def test_the_storage_does_what_the_library_asks_of_one() -> None:
    storage, limit = DatabaseStorage(), parse(LIMIT)
    assert storage.check()
    assert storage.get("a") == 0
    assert storage.incr("a", limit.get_expiry()) == 1
    assert storage.get_expiry("a") > clock.now().timestamp()
    storage.clear("a")
    assert storage.get("a") == 0
    storage.incr("a", 60)
    storage.incr("b", 60)
    assert storage.reset() == 2
