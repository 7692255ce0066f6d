"""Leases: no two workers ever hold the same delivery, and what a dead one held comes back."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account.models import User
from portal.database import db, transaction
from portal.notices import delivery, outbox
from portal.notices.delivery import deliver_due
from portal.notices.models import DeliveryState
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import KIND, Enqueue, delivery_to
from tests.smtp import MailServer

THREADS = 8
PEOPLE = 200


@pytest.fixture
def crowd(app_context: None) -> int:
    """A notice to many people; returns its id."""
    with transaction() as session:
        session.add_all(
            User(email=f"person{n}@example.org", name=f"Person {n}", fs_uniquifier=f"u{n}", created_at=NOW) for n in range(PEOPLE)
        )
        session.flush()
        everybody = sa.select(User.id, User.email, User.name).where(User.email.like("person%"))
        return outbox.enqueue(KIND, everybody, context={"title": "News", "text": "hello"}, now=NOW).id


def a_lease(holder: str) -> int:
    with transaction():
        return outbox.open_lease(holder, NOW)


def run_together(work: list[threading.Thread]) -> None:
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


@pytest.mark.usefixtures("crowd")
def test_no_delivery_is_claimed_twice(app: Flask) -> None:
    claimed: Counter[int] = Counter()
    errors: list[BaseException] = []
    lock = threading.Lock()
    barrier = threading.Barrier(THREADS)

    def worker(name: str) -> None:
        try:
            with app.app_context():
                lease_id = a_lease(name)
                barrier.wait()
                while True:
                    with transaction():
                        ids = [one.due.id for one in outbox.claim(7, lease_id, NOW)]
                    with lock:
                        claimed.update(ids)
                    if not ids:
                        return
        except BaseException as error:
            errors.append(error)

    run_together([threading.Thread(target=worker, args=(f"lease-{n}",)) for n in range(THREADS)])
    assert errors == []
    assert len(claimed) == PEOPLE
    assert set(claimed.values()) == {1}


@pytest.mark.usefixtures("crowd")
def test_workers_side_by_side_send_each_mail_once(app: Flask, mail_server: MailServer) -> None:
    def worker() -> None:
        with app.app_context():
            deliver_due(now=lambda: NOW)

    run_together([threading.Thread(target=worker) for _ in range(4)])
    assert len(mail_server.accepted) == PEOPLE
    assert len(set(mail_server.recipients())) == PEOPLE


def test_a_lease_that_ran_out_is_freed_and_one_that_was_renewed_is_not(cast: Cast, enqueue: Enqueue) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    lease_id, other = a_lease("slow"), a_lease("other")
    with transaction():
        held = outbox.claim(10, lease_id, NOW)
        assert outbox.renew(other, NOW + outbox.LEASE * 3)
    assert [one.due.address for one in held] == [cast.alice, cast.bob]
    with transaction():
        assert outbox.renew(lease_id, NOW + outbox.LEASE / 2)
        assert outbox.free_expired_leases(NOW + outbox.LEASE * 1.2) == 0
    with transaction():
        assert outbox.claim(10, other, NOW + outbox.LEASE * 1.2) == []
    late = NOW + outbox.LEASE * 2
    assert outbox.any_due(late)
    with transaction():
        assert outbox.free_expired_leases(late) == 2
        assert not outbox.renew(lease_id, late)
        assert [one.due.id for one in outbox.claim(10, other, late)] == [one.due.id for one in held]
    delivery = delivery_to(notice_id, cast.alice)
    assert (delivery.state, delivery.lease_id, delivery.attempts) == (DeliveryState.SENDING, other, 0)


def test_the_number_of_a_lease_is_never_given_out_again(app_context: None) -> None:
    first = a_lease("first")
    with transaction():
        outbox.close_lease(first, NOW)
    assert a_lease("second") != first


def test_a_claim_that_is_rolled_back_holds_nothing(cast: Cast, enqueue: Enqueue) -> None:
    enqueue(cast.alice)
    lease_id = a_lease("any")

    def claim_and_die() -> None:
        with transaction():
            assert len(outbox.claim(10, lease_id, NOW)) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        claim_and_die()
    with transaction():
        assert len(outbox.claim(10, lease_id, NOW)) == 1
    db.session.rollback()


def test_a_mail_that_takes_longer_than_a_lease_is_not_taken_over(
    app: Flask, cast: Cast, enqueue: Enqueue, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LEASE", timedelta(seconds=1.5))
    monkeypatch.setattr(delivery, "RENEW_EVERY", timedelta(seconds=0.3))
    mail_server.seconds_per_mail = 4
    notice_id = enqueue(cast.alice, now=clock.now())

    def send() -> None:
        with app.app_context():
            deliver_due()

    sending = threading.Thread(target=send)
    sending.start()
    stolen = 0
    while sending.is_alive():
        db.session.rollback()
        if delivery_to(notice_id, cast.alice).state is DeliveryState.SENDING:
            with transaction():
                stolen += outbox.free_expired_leases(clock.now())
        sending.join(0.2)
    assert stolen == 0
    assert mail_server.recipients() == [cast.alice]
