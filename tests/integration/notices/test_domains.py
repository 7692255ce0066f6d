"""A domain that goes on deferring is left alone for a while, and no other waits for it."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.account.models import User
from portal.database import db, transaction
from portal.notices import domains, outbox, settling, subscriptions
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState, DomainPause, Topic
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import KIND, Enqueue
from tests.smtp import MailServer

SLOW, QUICK = "slow.example", "quick.example"
EACH = 12


@pytest.fixture
def notice_id(app_context: None, cast: Cast, product_id: int, mail_server: MailServer) -> int:
    """A notice to people at two domains, one of which defers all of them."""
    with transaction() as session:
        people = [
            User(email=f"p{n}@{domain}", name="", fs_uniquifier=f"{n}{domain}", created_at=NOW)
            for n in range(EACH)
            for domain in (SLOW, QUICK)
        ]
        session.add_all(people)
        session.flush()
        for person in people:
            subscriptions.start(person.id, product_id, [Topic.POINT], now=NOW)
        mail_server.answers = {person.email: "451 4.7.1 too much mail from you" for person in people if person.email.endswith(SLOW)}
        audience = sa.select(User.id, User.email, User.name).where(User.email.like("p%.example"))
        return outbox.enqueue(KIND, audience, context={"title": "News", "text": "x"}, topic=Topic.POINT, product_id=product_id, now=NOW).id


def at_slow(notice_id: int) -> list[Delivery]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice_id, Delivery.domain == SLOW)))


def test_a_domain_that_defers_is_paused_alone(notice_id: int, mail_server: MailServer) -> None:
    deliver_due(now=lambda: NOW)
    assert sorted(mail_server.recipients()) == sorted(f"p{n}@{QUICK}" for n in range(EACH))
    pause = db.session.get_one(DomainPause, SLOW)
    assert pause.pauses == 1
    assert pause.until > NOW + timedelta(seconds=30)
    assert (pause.reply or "").startswith("451 4.7.1")
    waiting = at_slow(notice_id)
    assert {one.next_attempt_at is not None and one.next_attempt_at >= pause.until for one in waiting} == {True}
    assert sum(one.attempts for one in waiting) < EACH + domains.DEFERRALS, "tries went on after the domain was paused"
    assert deliver_due(now=lambda: NOW + timedelta(seconds=20)).total == 0


def test_a_pause_that_ended_is_followed_by_a_longer_one_until_a_mail_is_taken(notice_id: int, mail_server: MailServer) -> None:
    deliver_due(now=lambda: NOW)
    later = NOW + timedelta(minutes=10)
    deliver_due(now=lambda: later)
    again = db.session.get_one(DomainPause, SLOW, populate_existing=True)
    assert again.pauses > 1
    assert again.until > later + timedelta(seconds=60)
    mail_server.answers.clear()
    much_later = later + timedelta(hours=3)
    deliver_due(now=lambda: much_later)
    assert {one.state for one in at_slow(notice_id)} == {DeliveryState.SENT}
    assert db.session.get(DomainPause, SLOW, populate_existing=True) is None


def test_mail_somebody_waits_for_is_tried_at_a_paused_domain(notice_id: int, enqueue: Enqueue, mail_server: MailServer) -> None:
    deliver_due(now=lambda: NOW)
    mail_server.answers.clear()
    enqueue(f"p1@{SLOW}")
    deliver_due(now=lambda: NOW)
    assert f"p1@{SLOW}" in mail_server.recipients()


def test_mailboxes_that_defer_do_not_pause_their_domain(notice_id: int, mail_server: MailServer) -> None:
    mail_server.answers = {f"p{n}@{SLOW}": "452 4.2.2 mailbox full" for n in range(EACH)}
    deliver_due(now=lambda: NOW)
    assert db.session.get(DomainPause, SLOW) is None
    assert sum(one.attempts for one in at_slow(notice_id)) == EACH


def test_a_domain_that_takes_nothing_for_72_hours_is_given_up_for_all_at_once(notice_id: int, mail_server: MailServer) -> None:
    now, end = NOW, NOW + timedelta(hours=90)
    while now < end and any(one.state is DeliveryState.DEFERRED or one.state is DeliveryState.QUEUED for one in at_slow(notice_id)):
        deliver_due(now=lambda now=now: now)  # type: ignore[misc]
        pause = db.session.get(DomainPause, SLOW, populate_existing=True)
        now = pause.until if pause is not None else now + timedelta(minutes=1)
    left = at_slow(notice_id)
    assert {(one.state, one.reason, one.next_attempt_at) for one in left} == {(DeliveryState.FAILED, settling.GIVEN_UP, None)}
    assert {(one.reply or "")[:9] for one in left} == {"451 4.7.1"}
    assert now >= NOW + timedelta(hours=72)
    assert {0} < {one.attempts for one in left}, "most were never tried themselves"


def test_mail_to_many_that_cannot_be_switched_off_is_held_back_at_a_paused_domain(enqueue: Enqueue, mail_server: MailServer) -> None:
    with transaction() as session:
        many = [User(email=f"p{n}@{SLOW}", name="", fs_uniquifier=f"{n}", created_at=NOW) for n in range(outbox.FEW + 1)]
        session.add_all(many)
        addresses = [person.email for person in many]
    to_many, to_one = enqueue(*addresses), enqueue(addresses[0])
    mail_server.answers = dict.fromkeys(addresses, "451 4.7.1 too much mail from you")
    deliver_due(now=lambda: NOW)
    assert db.session.get(DomainPause, SLOW) is not None
    assert sum(one.attempts for one in at_slow(to_many)) < len(addresses)
    assert [one.urgent for one in at_slow(to_one)] == [True]
    assert {one.urgent for one in at_slow(to_many)} == {False}
