"""The second of sending: what was decided since the notice was made counts."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from portal.account.models import User
from portal.account.people import change_address
from portal.database import db, transaction
from portal.notices import acts, control, kinds, outbox, people, progress, subscriptions, suppression
from portal.notices.delivery import deliver_due
from portal.notices.models import DeliveryState, Topic
from portal.notices.selection import Selection
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import KIND, Enqueue, delivery_to, notice
from tests.smtp import MailServer

SKIPPED, SENT, QUEUED = DeliveryState.SKIPPED, DeliveryState.SENT, DeliveryState.QUEUED


def user_id(address: str) -> int:
    return db.session.scalars(sa.select(User.id).where(User.email == address)).one()


def test_somebody_who_unsubscribed_meanwhile_is_skipped(cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int) -> None:
    notice_id = enqueue(cast.alice, cast.bob, topic=Topic.POINT, product_id=product_id)
    with transaction():
        subscriptions.choose(user_id(cast.alice), product_id, Topic.POINT, wanted=False, now=NOW)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.bob]
    skipped = delivery_to(notice_id, cast.alice)
    assert (skipped.state, skipped.reason, skipped.attempts) == (SKIPPED, "switched off", 0)


def test_somebody_who_unsubscribes_while_the_batch_goes_out_is_skipped(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int
) -> None:
    notice_id = enqueue(cast.alice, cast.bob, topic=Topic.POINT, product_id=product_id)
    bob = user_id(cast.bob)
    seconds = iter(range(0, 10_000, 2))

    def stopping() -> bool:
        if mail_server.recipients() == [cast.alice]:
            with transaction():
                subscriptions.choose(bob, product_id, Topic.POINT, wanted=False, now=NOW)
        return False

    deliver_due(now=lambda: NOW + timedelta(seconds=next(seconds)), stopping=stopping)
    assert mail_server.recipients() == [cast.alice]
    assert delivery_to(notice_id, cast.bob).reason == "switched off"


def test_contract_and_security_mail_ignores_what_was_switched_off(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int
) -> None:
    with transaction():
        for topic in Topic:
            subscriptions.choose(user_id(cast.alice), product_id, topic, wanted=False, now=NOW)
    enqueue(cast.alice)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.alice]


def test_a_closed_account_gets_no_topical_mail(cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int) -> None:
    notice_id = enqueue(cast.alice, topic=Topic.POINT, product_id=product_id)
    with transaction() as session:
        session.get_one(User, user_id(cast.alice)).active = False
    deliver_due(now=lambda: NOW)
    assert delivery_to(notice_id, cast.alice).reason == "account closed"
    assert mail_server.accepted == []


def test_a_suppressed_address_gets_nothing_until_it_is_lifted(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    with transaction():
        suppression.add(cast.alice.upper(), "user unknown", now=NOW)
        suppression.add(cast.alice, "another reason", now=NOW)
    notice_id = enqueue(cast.alice)
    deliver_due(now=lambda: NOW)
    assert delivery_to(notice_id, cast.alice).reason == "address suppressed"
    assert suppression.suppressed([cast.alice]) == {cast.alice: "user unknown"}
    with transaction():
        assert suppression.lift(cast.alice, now=NOW)
        assert not suppression.lift(cast.alice, now=NOW)
    enqueue(cast.alice)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.alice]


def test_a_cancelled_notice_goes_to_nobody_more(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    notice_id = enqueue(cast.alice)
    with transaction():
        control.cancel(notice_id, now=NOW)
    deliver_due(now=lambda: NOW)
    assert delivery_to(notice_id, cast.alice).reason == "cancelled"
    assert mail_server.accepted == []


def test_the_kind_decides_at_the_second_of_sending(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    refusing = kinds.Kind(KIND, check=lambda notice, deliveries, now: {d.id: "not entitled" for d in deliveries if d.address == cast.bob})
    kinds.register(refusing)
    notice_id = enqueue(cast.alice, cast.bob)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.alice]
    assert delivery_to(notice_id, cast.bob).reason == "not entitled"


def test_a_test_mail_goes_to_whoever_asked_and_says_so(cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int) -> None:
    kinds.register(kinds.Kind(KIND, check=lambda notice, deliveries, now: {d.id: "not entitled" for d in deliveries}))
    enqueue(cast.paula, product_id=product_id, test=True)
    deliver_due(now=lambda: NOW)
    mail = mail_server.to(cast.paula)[0]
    assert mail.message["Subject"] == "[Test] News"
    assert b"you asked for a test" in mail.content.replace(b"=\r\n", b"")


@pytest.mark.parametrize("broken", ["broken", "unknown to everybody"])
def test_a_text_that_cannot_be_rendered_pauses_its_notice_and_spoils_no_other(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, broken: str
) -> None:
    broken_id = enqueue(cast.alice, cast.bob, kind=broken)
    enqueue(cast.alice)
    assert deliver_due(now=lambda: NOW).counts == {SENT: 1}
    assert delivery_to(broken_id, cast.bob).state is QUEUED
    paused = notice(broken_id)
    assert paused.paused_at == NOW
    assert paused.pause_reason
    assert not outbox.any_due(NOW + timedelta(days=1))

    kinds.register(kinds.Kind("unknown to everybody"))
    repaired = notice(broken_id)
    with transaction() as session:
        session.get_one(type(repaired), broken_id).kind = KIND
        assert control.resume(broken_id, now=NOW) == 2
    assert deliver_due(now=lambda: NOW).counts == {SENT: 2}


def test_a_paused_notice_waits_and_goes_on_where_it_was(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    everybody = [cast.alice, cast.bob, cast.carol]
    notice_id = enqueue(*everybody)
    paused: list[int] = []

    def pause_after_the_first() -> bool:
        if len(mail_server.accepted) == 1 and not paused:
            with transaction():
                paused.append(control.pause(notice_id, now=NOW))
        return False

    mail_server.seconds_per_mail = 1.2  # each mail is checked again a second after it was
    deliver_due(stopping=pause_after_the_first)
    assert len(mail_server.accepted) < 3
    late = NOW + timedelta(days=4)
    assert deliver_due(now=lambda: late).total == 0
    mail_server.answers[cast.carol] = "451 4.7.1 later"
    with transaction():
        control.resume(notice_id, now=late)
    deliver_due(now=lambda: late)
    assert sorted(mail_server.recipients()) == everybody[:2]
    assert delivery_to(notice_id, cast.carol).state is DeliveryState.DEFERRED, "the pause counted as waiting"


def broken_sql() -> None:
    db.session.execute(sa.text("SELECT no_such_column FROM no_such_table"))


@pytest.mark.parametrize("mistake", [lambda: 1 / 0, broken_sql])
def test_a_check_that_breaks_holds_up_its_own_notice_alone(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer, mistake: Callable[[], object]
) -> None:
    def check(*_: object) -> dict[int, str]:
        mistake()
        return {}

    kinds.register(kinds.Kind("broken", check=check))
    held_up = enqueue(cast.alice, kind="broken")
    enqueue(cast.bob)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.bob]
    assert delivery_to(held_up, cast.alice).reason == "could not be checked"


def test_one_person_whose_mail_cannot_be_made_spoils_no_other(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    def personal(notice: object, delivery: object, now: object) -> dict[str, str]:
        if delivery.address == cast.alice:  # type: ignore[attr-defined]
            broken_sql()
        return {"text": db.session.scalars(sa.select(User.name).where(User.email == cast.bob)).one()}

    kinds.register(kinds.Kind(KIND, personal=personal))
    notice_id = enqueue(cast.alice, cast.bob)
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == [cast.bob]
    assert delivery_to(notice_id, cast.alice).reason == "could not be rendered for this person"


def test_retrying_tries_what_failed_and_leaves_final_refusals_alone(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.answers = {cast.alice: "550 5.1.1 no such user", cast.bob: "552 5.2.2 mailbox full", cast.carol: "451 4.3.0 later"}
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.dave)
    deliver_due(now=lambda: NOW)
    assert progress.progress(notice_id).retryable == 2
    mail_server.answers.clear()
    with transaction():
        assert control.retry(notice_id, now=NOW) == 2
    deliver_due(now=lambda: NOW)
    assert delivery_to(notice_id, cast.alice).state is DeliveryState.BOUNCED
    assert sorted(mail_server.recipients()) == [cast.bob, cast.carol, cast.dave]
    assert progress.progress(notice_id).summary == "Of 4: 3 sent, 1 bounced"


def test_what_is_retried_at_a_suppressed_address_is_skipped_with_the_reason_and_told_before(
    cast: Cast, enqueue: Enqueue, mail_server: MailServer
) -> None:
    mail_server.answers = {cast.alice: "550 5.1.1 no such user", cast.bob: "550 5.7.1 blocked", cast.erin: "550 5.1.1 no such user"}
    notice_id = enqueue(cast.alice, cast.bob, cast.erin)
    deliver_due(now=lambda: NOW)
    mail_server.answers.clear()
    with transaction() as session:
        change_address(session.get_one(User, user_id(cast.erin)), "erin@new.example.org")
    bounced = Selection(DeliveryState.BOUNCED)
    page = people.recipients(notice_id, bounced)
    assert (page.retryable, page.suppressed) == (3, 1), "erin has another address by now"
    with transaction():
        said = acts.retry(notice_id, actor=None, now=NOW, among=bounced)
    assert said == "2 will be tried again now. 1 will be skipped: no mail goes to a suppressed address."
    deliver_due(now=lambda: NOW)
    assert sorted(mail_server.recipients()) == [cast.bob, "erin@new.example.org"]
    gone = delivery_to(notice_id, cast.alice)
    assert (gone.state, gone.reason) == (DeliveryState.SKIPPED, "address suppressed")


def test_what_is_retried_goes_to_the_address_a_person_has_by_now(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    mail_server.answers = {cast.erin: "552 5.2.2 mailbox full"}
    notice_id = enqueue(cast.erin)
    deliver_due(now=lambda: NOW)
    with transaction() as session:
        change_address(session.get_one(User, user_id(cast.erin)), "erin@new.example.org")
    assert delivery_to(notice_id, cast.erin).state is DeliveryState.BOUNCED, "what happened there stays written down"
    with transaction():
        assert control.retry(notice_id, now=NOW) == 1
    assert delivery_to(notice_id, "erin@new.example.org").domain == "new.example.org"
    deliver_due(now=lambda: NOW)
    assert mail_server.recipients() == ["erin@new.example.org"]


def test_there_is_one_notice_for_a_key(cast: Cast, enqueue: Enqueue) -> None:
    nobody = sa.select(User.id, User.email, User.name).where(sa.false())
    with transaction():
        first = outbox.enqueue(KIND, nobody, context={}, now=NOW, key="release-1-published").id
    with pytest.raises(IntegrityError), transaction():
        outbox.enqueue(KIND, nobody, context={}, now=NOW, key="release-1-published")
    found = progress.find_by_key("release-1-published")
    assert found is not None
    assert found.id == first
