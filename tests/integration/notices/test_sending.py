"""From the outbox through a real SMTP server: each person once, alone in the mail, and every answer understood."""

from datetime import timedelta

import pytest
from flask import Flask

from portal.database import db, transaction
from portal.notices import outbox, settling, suppression
from portal.notices.delivery import Clock, deliver_due
from portal.notices.models import Delivery, DeliveryState, SuppressionCause
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to
from tests.smtp import MailServer

SENT, DEFERRED, BOUNCED, FAILED = DeliveryState.SENT, DeliveryState.DEFERRED, DeliveryState.BOUNCED, DeliveryState.FAILED


def after(minutes: float = 0) -> Clock:
    """A clock that stands still, this long after the mails were enqueued."""
    return lambda: NOW + timedelta(minutes=minutes)


def test_every_recipient_gets_one_mail_of_their_own(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    people = [cast.alice, cast.bob, cast.carol]
    notice_id = enqueue(*people)
    run = deliver_due(now=after())
    assert run.counts == {SENT: 3}
    assert sorted(mail_server.recipients()) == sorted(people)
    assert set(mail_server.rcpt_counts) == {1}
    for person in people:
        raw = mail_server.to(person)[0].content.decode()
        assert [other for other in people if other in raw and other != person] == []
        delivery = delivery_to(notice_id, person)
        assert (delivery.state, delivery.attempts, delivery.reply) == (SENT, 1, "250 2.0.0 accepted")
    assert deliver_due(now=after()).total == 0
    assert len(mail_server.accepted) == 3
    assert mail_server.connections == 1


def test_a_temporary_refusal_defers_and_the_next_try_delivers(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.answers[cast.alice] = "451 4.7.1 greylisted"
    notice_id = enqueue(cast.alice, cast.bob)
    assert deliver_due(now=after()).counts == {SENT: 1, DEFERRED: 1}
    delivery = delivery_to(notice_id, cast.alice)
    assert (delivery.state, delivery.reply, delivery.attempts) == (DEFERRED, "451 4.7.1 greylisted", 1)
    assert delivery.next_attempt_at is not None
    assert NOW < delivery.next_attempt_at < NOW + timedelta(minutes=1)
    assert deliver_due(now=after()).total == 0
    mail_server.answers.clear()
    assert deliver_due(now=after(1)).counts == {SENT: 1}
    assert mail_server.recipients() == [cast.bob, cast.alice]


def test_the_delay_grows_and_72_hours_are_enough(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.answers[cast.alice] = "450 4.2.1 later"
    notice_id = enqueue(cast.alice)
    waits = []
    now = NOW
    while True:
        deliver_due(now=lambda now=now: now)  # type: ignore[misc]
        delivery = delivery_to(notice_id, cast.alice)
        if delivery.state is not DEFERRED:
            break
        assert delivery.next_attempt_at is not None
        waits.append(delivery.next_attempt_at - now)
        now = delivery.next_attempt_at
    assert (delivery.state, delivery.reason) == (FAILED, "given up after 72 hours of trying")
    assert delivery.reply == "450 4.2.1 later"
    assert now == NOW + timedelta(hours=72)
    assert waits[0] < timedelta(minutes=1) < waits[5]
    assert max(waits) <= timedelta(hours=2.5)


def test_a_permanent_refusal_bounces_with_the_servers_words(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.answers[cast.alice] = "550 5.1.1 no such user"
    mail_server.data_answers[cast.bob] = "554 5.7.1 looks like spam"
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    assert deliver_due(now=after()).counts == {BOUNCED: 2, SENT: 1}
    assert delivery_to(notice_id, cast.alice).reply == "550 5.1.1 no such user"
    assert delivery_to(notice_id, cast.bob).reply == "554 5.7.1 looks like spam"
    assert mail_server.connections == 1, "a refusal costs no connection"


@pytest.mark.parametrize(
    ("where", "reply", "suppressed"),
    [
        ("answers", "550 5.1.1 no such user", True),
        ("answers", "550 5.7.1 rejected as spam", False),
        ("answers", "552 5.2.2 mailbox full", False),
        ("data_answers", "550 content rejected", False),
    ],
)
def test_an_address_that_is_gone_is_mailed_no_more(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, where: str, reply: str, suppressed: bool
) -> None:
    getattr(mail_server, where)[cast.alice] = reply
    notice_id = enqueue(cast.alice, cast.bob)
    assert deliver_due(now=after()).counts == {SENT: 1, BOUNCED: 1}
    found = suppression.find(cast.alice)
    assert (found is not None) is suppressed
    if found is not None:
        assert (found.cause, found.reason, found.delivery_id) == (
            SuppressionCause.REFUSED, reply, delivery_to(notice_id, cast.alice).id,
        )  # fmt: skip


def test_a_refusal_of_the_sender_is_no_fault_of_the_recipient(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.sender_answer = "530 5.7.0 authenticate first"
    notice_id = enqueue(cast.alice)
    deliver_due(now=after())
    assert (delivery_to(notice_id, cast.alice).state, delivery_to(notice_id, cast.alice).reply) == (
        DEFERRED,
        "530 5.7.0 authenticate first",
    )


def test_a_server_that_is_down_defers_all_and_they_go_out_once_it_is_back(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.stop()
    notice_id = enqueue(cast.alice, cast.bob)
    run = deliver_due(now=after())
    assert run.counts == {DEFERRED: 2}
    assert run.unavailable is not None
    assert "refused" in run.unavailable
    assert delivery_to(notice_id, cast.bob).reason == "mail server unavailable"
    mail_server.start()
    assert deliver_due(now=after(1)).counts == {SENT: 2}
    assert sorted(mail_server.recipients()) == [cast.alice, cast.bob]


def test_a_connection_dropped_in_mid_mail_defers_that_mail_alone(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.drop_at.add(cast.alice)
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    assert deliver_due(now=after()).counts == {DEFERRED: 1, SENT: 2}
    assert delivery_to(notice_id, cast.alice).state is DEFERRED
    assert mail_server.connections == 2


def test_a_server_that_was_restarted_between_two_mails_is_connected_to_again(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, app: Flask
) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    restarted: list[bool] = []

    def restart() -> bool:
        if len(mail_server.accepted) == 1 and not restarted:
            mail_server.stop()
            mail_server.start()
            restarted.append(True)
        return False

    assert deliver_due(now=after(), stopping=restart).counts == {SENT: 2}
    assert delivery_to(notice_id, cast.bob).state is SENT


@pytest.mark.usefixtures("cast")
def test_an_international_address_needs_a_server_that_knows_them(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    readdress(notice_id, cast.alice, "jörg@example.org")
    readdress(notice_id, cast.bob, "bob@bücher.example")
    assert deliver_due(now=after()).counts == {SENT: 2}
    assert sorted(mail_server.recipients()) == ["bob@xn--bcher-kva.example", "jörg@example.org"]

    mail_server.stop()
    mail_server.smtputf8 = False
    mail_server.start()
    second = enqueue(cast.alice)
    readdress(second, cast.alice, "jörg@example.org")
    assert deliver_due(now=after()).counts == {FAILED: 1}
    assert delivery_to(second, "jörg@example.org").reason == "mail server takes no such address (no SMTPUTF8)"


def test_an_address_that_would_break_out_of_its_line_is_never_sent(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    readdress(notice_id, cast.alice, "x@example.org>\r\nRCPT TO:<y@example.org")
    assert deliver_due(now=after()).counts == {FAILED: 1, SENT: 1}
    assert mail_server.recipients() == [cast.bob]


def test_the_hours_count_from_the_first_try_not_from_when_no_worker_ran(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    notice_id = enqueue(cast.alice)
    mail_server.answers[cast.alice] = "451 4.7.1 try again later"
    deliver_due(now=lambda: NOW + timedelta(hours=100))
    assert delivery_to(notice_id, cast.alice).state == DEFERRED


def test_stopping_gives_back_what_was_not_tried(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    enqueue(cast.alice, cast.bob, cast.carol)
    deliver_due(now=after(), stopping=lambda: len(mail_server.accepted) == 1)
    assert len(mail_server.accepted) == 1
    assert deliver_due(now=after()).counts == {SENT: 2}


def test_mail_somebody_waits_for_goes_before_a_notice_to_many(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int
) -> None:
    from portal.notices.models import Topic

    enqueue(cast.alice, cast.bob, topic=Topic.POINT, product_id=product_id)
    enqueue(cast.carol)
    deliver_due(now=after())
    assert mail_server.recipients()[0] == cast.carol


def test_only_the_holder_of_the_lease_settles(cast: Cast, enqueue: Enqueue) -> None:
    notice_id = enqueue(cast.alice)
    with transaction():
        dead = outbox.open_lease("dead", NOW)
        delivery_id = outbox.claim(10, dead, NOW)[0].due.id
    late = NOW + outbox.LEASE * 2
    with transaction():
        outbox.free_expired_leases(late)
        heir = outbox.open_lease("heir", late)
        outbox.claim(10, heir, late)
    with transaction():
        assert settling.settle(dead, [settling.Outcome(delivery_id, SENT)], late) == 0
        assert settling.settle(dead, [settling.Outcome(delivery_id, DEFERRED)], late) == 0
    with transaction():
        assert settling.settle(heir, [settling.Outcome(delivery_id, SENT)], late) == 1
    assert delivery_to(notice_id, cast.alice).attempts == 1


def readdress(notice_id: int, old: str, new: str) -> None:
    """Give a delivery an address that no form would let through."""
    with transaction() as session:
        delivery = session.query(Delivery).filter_by(notice_id=notice_id, address=old).one()
        delivery.address = new
    db.session.rollback()
