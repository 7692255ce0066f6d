"""From the outbox through a real SMTP server: each person once, alone in the mail, and every answer understood."""

from datetime import timedelta

from portal.notices.delivery import Clock, deliver_due
from portal.notices.models import DeliveryState
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import Enqueue, delivery_to
from tests.smtp import MailServer


def at_now(minutes: float = 0) -> Clock:
    return lambda: NOW + timedelta(minutes=minutes)


def test_every_recipient_gets_one_mail_of_their_own(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    people = [cast.alice, cast.bob, cast.carol]
    notice_id = enqueue(*people)
    run = deliver_due(now=at_now())
    assert run.counts == {DeliveryState.SENT: 3}
    assert sorted(mail_server.recipients()) == sorted(people)
    assert set(mail_server.rcpt_counts) == {1}
    for person in people:
        raw = mail_server.to(person)[0].content.decode()
        assert [other for other in people if other in raw and other != person] == []
        delivery = delivery_to(notice_id, person)
        assert (delivery.state, delivery.attempts, delivery.reply) == (DeliveryState.SENT, 1, "250 2.0.0 accepted")
    assert deliver_due(now=at_now()).total == 0
    assert len(mail_server.accepted) == 3
    assert mail_server.connections == 1
