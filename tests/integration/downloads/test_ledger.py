"""The ledger: one entry per download, however often it is resumed."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account.models import User
from portal.database import db, transaction
from portal.releases import downloads, publishing
from portal.releases.models import Channel, Download
from portal.web.ranges import Span
from tests.builds import CONTENT, find_contract, find_user, only_build, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import mailed

SIZE = len(CONTENT)
THREADS = 10


@pytest.fixture
def ids(app_context: None, cast: Cast) -> tuple[int, int, int]:
    """A build, alice, and her contract."""
    publish_release("15.3b2", Channel.BETA, NOW)
    found = only_build().id, find_user(cast.alice).id, find_contract(cast.contract).id
    db.session.remove()
    return found


def entries() -> list[Download]:
    return list(db.session.scalars(sa.select(Download).order_by(Download.id)))


def record(ids: tuple[int, int, int | None], span: Span, hours: float = 0) -> int:
    with transaction():
        return downloads.record(*ids, span, NOW + timedelta(hours=hours))


def note_sent(download_id: int, span: Span, hours: float = 0) -> None:
    with transaction():
        downloads.note_sent(download_id, span, NOW + timedelta(hours=hours))


def test_a_resumed_download_is_one_entry_with_its_ranges_merged(ids: tuple[int, int, int]) -> None:
    first = record(ids, Span(0, SIZE - 1))
    assert record(ids, Span(400, SIZE - 1), hours=1) == first
    (entry,) = entries()
    assert entry.ranges == [[0, SIZE - 1]]
    assert (entry.started_at, entry.last_request_at) == (NOW, NOW + timedelta(hours=1))
    assert entry.completed_at is None


def test_gaps_between_granted_ranges_stay_visible(ids: tuple[int, int, int]) -> None:
    record(ids, Span(0, 9))
    record(ids, Span(20, 29))
    record(ids, Span(10, 14))
    assert entries()[0].ranges == [[0, 14], [20, 29]]


def test_a_download_stays_open_for_a_day_after_its_last_request(ids: tuple[int, int, int]) -> None:
    first = record(ids, Span(0, 9))
    assert record(ids, Span(10, 19), hours=23) == first
    assert record(ids, Span(20, 29), hours=46) == first
    assert record(ids, Span(30, 39), hours=46 + 24.1) != first
    assert [entry.open_key is None for entry in entries()] == [True, False]


def test_it_is_complete_when_the_portal_has_sent_every_byte(ids: tuple[int, int, int]) -> None:
    download = record(ids, Span(0, SIZE - 1))
    note_sent(download, Span(0, 499))
    assert entries()[0].completed_at is None
    note_sent(download, Span(490, SIZE - 1), hours=2)
    (entry,) = entries()
    assert entry.completed_at == NOW + timedelta(hours=2)
    assert entry.sent == [[0, SIZE - 1]]


def test_the_last_bytes_alone_do_not_complete_it(ids: tuple[int, int, int]) -> None:
    download = record(ids, Span(SIZE - 10, SIZE - 1))
    note_sent(download, Span(SIZE - 10, SIZE - 1))
    assert entries()[0].completed_at is None


def test_after_a_complete_one_the_next_request_begins_another(ids: tuple[int, int, int]) -> None:
    first = record(ids, Span(0, SIZE - 1))
    note_sent(first, Span(0, SIZE - 1))
    second = record(ids, Span(0, SIZE - 1), hours=1)
    assert second != first
    note_sent(first, Span(0, 5), hours=2)
    assert [entry.completed_at for entry in entries()] == [NOW, None]


def test_what_is_asked_for_again_soon_after_the_end_belongs_to_it(ids: tuple[int, int, int]) -> None:
    first = record(ids, Span(0, SIZE - 1))
    note_sent(first, Span(0, SIZE - 1))
    assert record(ids, Span(500, SIZE - 1), hours=0.1) == first
    assert record(ids, Span(0, SIZE - 1), hours=0.15) == first
    assert record(ids, Span(500, SIZE - 1), hours=0.5) != first


def test_people_and_contracts_do_not_share_an_entry(ids: tuple[int, int, int], cast: Cast) -> None:
    build_id, alice, contract = ids
    bob = find_user(cast.bob).id
    made = {record(who, Span(0, 9)) for who in [(build_id, alice, contract), (build_id, bob, contract), (build_id, alice, None)]}
    assert len(made) == 3


def run_together(app: Flask, act: Callable[[int], None]) -> list[BaseException]:
    """Run `act(0)`, `act(1)`, … in threads that start at the same moment, each in an app context of its own."""
    failures: list[BaseException] = []
    together = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            with app.app_context():
                together.wait()
                act(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_ten_parallel_ranges_meet_in_one_entry_and_complete_it(app: Flask, ids: tuple[int, int, int]) -> None:
    part = SIZE // THREADS

    # The ranges are all granted before the first is sent: as a program with ten connections does it.
    granted: list[int] = []
    assert run_together(app, lambda number: granted.append(record(ids, Span(number * part, (number + 1) * part - 1)))) == []
    assert len(set(granted)) == 1
    assert run_together(app, lambda number: note_sent(granted[0], Span(number * part, (number + 1) * part - 1), hours=1)) == []
    (entry,) = entries()
    assert entry.ranges == entry.sent == [[0, SIZE - 1]]
    assert entry.completed_at == NOW + timedelta(hours=1)


def test_ten_downloads_racing_with_their_own_completion_lose_nothing(app: Flask, ids: tuple[int, int, int]) -> None:
    def take(number: int) -> None:
        note_sent(record(ids, Span(0, SIZE - 1)), Span(0, SIZE - 1))

    assert run_together(app, take) == []
    found = entries()
    assert 1 <= len(found) <= THREADS
    assert all(entry.completed_at is not None for entry in found)


def test_a_stale_entry_is_closed_once_by_ten_newcomers(app: Flask, ids: tuple[int, int, int]) -> None:
    record(ids, Span(0, 9))
    made: list[int] = []
    assert run_together(app, lambda number: made.append(record(ids, Span(number, number), hours=48))) == []
    assert len(set(made)) == 1
    assert len(entries()) == 2


def test_whoever_is_entered_while_the_release_is_withdrawn_is_told(app: Flask, ids: tuple[int, int, int], cast: Cast) -> None:
    people = [find_user(email).id for email in (cast.alice, cast.bob, cast.carol, cast.dave, cast.erin)]
    release_id = only_build().release_id
    db.session.remove()

    def act(number: int) -> None:
        with transaction():
            if number == THREADS // 2:
                publishing.withdraw(release_id, "It can lose macros.", actor=None, now=NOW)
            elif downloads.withdrawn_meanwhile(ids[0]) is None:
                downloads.record(ids[0], people[number % len(people)], None, Span(0, 9), NOW)

    assert run_together(app, act) == []
    taken = sorted(db.session.scalars(sa.select(User.email).join(Download, Download.user_id == User.id)))
    assert mailed("release_withdrawn") == taken
    assert downloads.withdrawn_meanwhile(ids[0]) == "It can lose macros."
