"""Staff, workers and the database at the same moment: nothing is left lying that nobody would ever pick up."""

import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.database import db, transaction
from portal.errors import Busy
from portal.notices import control, domains, outbox
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState, Lease
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to
from tests.smtp import MailServer

SENT, SKIPPED = DeliveryState.SENT, DeliveryState.SKIPPED
Act = Callable[[], object]


def held_while_paused(notice_id: int) -> tuple[int, list[int]]:
    """Let a worker hold a notice that is paused then. Returns its lease and what it holds."""
    with transaction():
        lease_id = outbox.open_lease("worker", NOW)
        ids = [one.due.id for one in outbox.claim(10, lease_id, NOW)]
    with transaction():
        control.pause(notice_id, now=NOW)
    return lease_id, ids


def do_at_once(app: Flask, first: Act, second: Act) -> None:
    """Do `second` while `first` is done and not yet committed. Where they get in each other's way, `second` waits."""

    def run() -> None:
        with app.app_context():
            with transaction():
                second()
            db.session.remove()

    other = threading.Thread(target=run)
    with transaction():
        first()
        other.start()
        other.join(0.5)
    other.join()


@pytest.mark.parametrize("worker_first", [True, False])
@pytest.mark.parametrize("act", [control.resume, control.cancel])
def test_what_a_worker_gives_back_as_its_notice_is_let_go_or_stopped_is_not_forgotten(
    app: Flask, cast: Cast, enqueue: Enqueue, mail_server: MailServer, act: Callable[..., int], worker_first: bool
) -> None:
    notice_id = enqueue(cast.alice)
    lease_id, ids = held_while_paused(notice_id)
    acts: list[Act] = [lambda: outbox.postpone(lease_id, ids, NOW), lambda: act(notice_id, now=NOW)]
    do_at_once(app, *(acts if worker_first else reversed(acts)))
    deliver_due(now=lambda: NOW)
    assert delivery_to(notice_id, cast.alice).state is (SENT if act is control.resume else SKIPPED)


def test_what_a_dead_worker_held_of_a_notice_that_was_paused_then_stopped_is_skipped(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer
) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    held_while_paused(notice_id)
    with transaction():
        control.cancel(notice_id, now=NOW)
    deliver_due(now=lambda: NOW + outbox.LEASE * 2)
    assert {delivery_to(notice_id, one).reason for one in (cast.alice, cast.bob)} == {control.CANCELLED}
    assert mail_server.accepted == []


@pytest.mark.parametrize("step", [0, 2])
def test_a_worker_that_was_thought_dead_ends_quietly_and_repeats_what_was_in_the_air_alone(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, step: int
) -> None:
    """Also within the second (`step` 0) in which it asks nothing before a mail."""
    people = [cast.alice, cast.bob, cast.carol, cast.dave, cast.erin]
    enqueue(*people)
    seconds = count(step=step)
    freed: list[int] = []

    def thought_dead() -> bool:
        if mail_server.accepted and not freed:
            with transaction() as session:
                session.execute(sa.update(Lease).values(expires_at=NOW - timedelta(seconds=1)))
                freed.append(outbox.free_expired_leases(NOW))
        return False

    deliver_due(now=lambda: NOW + timedelta(seconds=next(seconds)), stopping=thought_dead)
    assert freed
    assert len(mail_server.accepted) <= 2
    deliver_due(now=lambda: NOW)
    assert set(mail_server.recipients()) == set(people)
    assert len(mail_server.accepted) <= len(people) + 1, "more than the mail in the air was repeated"
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Lease)) == 0


def test_a_database_that_goes_away_while_mail_is_checked_ends_the_round_and_keeps_what_was_sent(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    seconds = iter(range(0, 10_000, 2))
    ask = domains.paused

    def away_after_the_first_mail() -> object:
        if mail_server.accepted:
            raise sa.exc.OperationalError("SELECT", {}, Exception("the server closed the connection"))
        return ask()

    monkeypatch.setattr(domains, "paused", away_after_the_first_mail)
    with pytest.raises(Busy):
        deliver_due(now=lambda: NOW + timedelta(seconds=next(seconds)))
    sent = list(db.session.scalars(sa.select(Delivery.address).where(Delivery.notice_id == notice_id, Delivery.state == SENT)))
    assert sorted(sent) == sorted(mail_server.recipients()) != []
