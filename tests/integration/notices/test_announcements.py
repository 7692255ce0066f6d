"""Announcements: written, looked at, sent once, asked about again at the second of sending."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contacts, contracts
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import announcements
from portal.notices.delivery import deliver_due
from portal.notices.models import Announcement, DeliveryState, Notice, Topic
from portal.notices.rendering import Recipient
from portal.products.catalog import find_product
from tests.announcements import BODY, deliveries_of, get, make_draft, send, words
from tests.builds import find_seat, find_user
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import delivery_to
from tests.smtp import MailServer
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

LATER = NOW + timedelta(hours=1)


def notices() -> list[Notice]:
    return list(db.session.scalars(sa.select(Notice).where(Notice.kind == "announcement").order_by(Notice.id)))


def test_sending_puts_one_notice_with_the_whole_text_into_the_outbox(cast: Cast) -> None:
    announcement_id = make_draft(topic=Topic.POINT)
    notice_id = send(announcement_id, LATER)
    (notice,) = notices()
    assert (notice.id, notice.key, notice.topic) == (notice_id, f"announcement-{announcement_id}", Topic.POINT)
    assert (notice.context["title"], notice.context["body"]) == ("A hole is closed", BODY.strip())
    assert deliveries_of(notice_id) == [cast.alice, cast.bob, cast.carol]
    sent = get(announcement_id)
    assert (sent.sent_at, sent.notice_id) == (LATER, notice_id)


def test_an_announcement_is_sent_once(cast: Cast) -> None:
    announcement_id = make_draft()
    send(announcement_id)
    with pytest.raises(Conflict, match="sent already"):
        send(announcement_id)
    assert len(notices()) == 1


def test_a_notice_of_that_key_is_a_refusal_and_no_accident(cast: Cast) -> None:
    announcement_id = make_draft()
    with transaction() as session:
        session.add(Notice(kind="announcement", key=f"announcement-{announcement_id}", context={}, created_at=NOW))
    with pytest.raises(Conflict, match="sent already"):
        send(announcement_id)
    assert get(announcement_id).sent_at is None


def test_ten_at_once_send_one_notice(app: Flask, cast: Cast) -> None:
    announcement_id = make_draft()
    db.session.remove()
    outcomes: list[str] = []
    together = threading.Barrier(10)

    def press() -> None:
        with app.app_context():
            together.wait()
            try:
                send(announcement_id)
                outcomes.append("sent")
            except Conflict:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=press) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 9 + ["sent"]
    assert len(notices()) == 1
    assert deliveries_of(notices()[0].id) == [cast.alice, cast.bob, cast.carol]


def test_what_changed_after_it_was_looked_at_is_not_sent(cast: Cast) -> None:
    announcement_id = make_draft()
    with transaction():
        announcements.edit(announcement_id, words(subject="Another subject"), revision=1, actor=None, now=NOW)
    with pytest.raises(Conflict, match="Nothing was sent"), transaction():
        announcements.send(announcement_id, revision=1, actor=None, now=NOW)
    assert notices() == []
    with transaction():
        assert announcements.send(announcement_id, revision=2, actor=None, now=NOW) == 3


def test_an_announcement_that_was_looked_at_may_go_to_nobody(cast: Cast) -> None:
    announcement_id = make_draft("downloaders")
    with transaction():
        assert announcements.send(announcement_id, actor=None, now=NOW) == 0
    assert get(announcement_id).sent_at is not None
    assert len(notices()) == 1


def test_the_second_of_two_editors_is_told(cast: Cast) -> None:
    announcement_id = make_draft()
    with transaction():
        announcements.edit(announcement_id, words(subject="First"), revision=1, actor=None, now=NOW)
    with pytest.raises(Conflict, match="Somebody changed"), transaction():
        announcements.edit(announcement_id, words(subject="Second"), revision=1, actor=None, now=NOW)
    assert get(announcement_id).subject == "First"


def test_what_is_sent_is_neither_changed_nor_discarded(cast: Cast) -> None:
    announcement_id = make_draft()
    send(announcement_id)
    with pytest.raises(Conflict), transaction():
        announcements.edit(announcement_id, words(subject="Late"), revision=1, actor=None, now=NOW)
    with pytest.raises(Conflict), transaction():
        announcements.discard(announcement_id, actor=None, now=NOW)
    assert get(announcement_id).subject == "A hole is closed"


def test_a_draft_is_discarded_for_good(cast: Cast) -> None:
    announcement_id = make_draft()
    with transaction():
        announcements.discard(announcement_id, actor=None, now=NOW)
    for unknown in (announcement_id, 10**30):
        with pytest.raises(NotFound):
            announcements.find(unknown)
        with pytest.raises(NotFound), transaction():
            announcements.send(unknown, actor=None, now=NOW)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("subject", {"subject": "Urgent\r\nBcc: all@example.org"}),
        ("subject", {"subject": "Nul\0"}),
        ("subject", {"subject": " "}),
        ("subject", {"subject": "x" * 151}),
        ("body", {"body": ""}),
        ("body", {"body": "a\0b"}),
        ("body", {"body": "x" * 20_001}),
        ("audience", {"audience": "everybody"}),
        ("topic", {"topic": Topic.FEEDBACK}),
        ("topic", {"audience": "subscribers", "topic": None}),
    ],
)
def test_bad_input_is_refused_by_name(cast: Cast, field: str, said: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        make_draft(**said)
    assert refused.value.field == field
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Announcement)) == 0


def test_the_numbers_shown_are_those_of_the_mails_accepted(cast: Cast, mail_server: MailServer) -> None:
    announcement_id = make_draft("customers")
    shown = announcements.reach(words("customers"), NOW)
    send(announcement_id)
    run = deliver_due(now=lambda: NOW)
    assert sorted(mail_server.recipients()) == [cast.alice, cast.bob, cast.carol, cast.dave]
    assert run.counts[DeliveryState.SENT] == shown.reached == 4


def test_who_left_the_audience_since_gets_nothing(cast: Cast, mail_server: MailServer) -> None:
    notice_id = send(make_draft("seats"))
    with transaction():
        contacts.release_contact(find_seat(cast.bob), actor=None, now=NOW)
        find_user(cast.dave).active = False
    deliver_due(now=lambda: NOW)
    announced = [one for one in mail_server.accepted if one.message["Subject"] == "A hole is closed"]
    assert sorted(address for one in announced for address in one.recipients) == [cast.alice, cast.carol]
    assert delivery_to(notice_id, cast.bob).reason == "no longer one of the audience"
    assert delivery_to(notice_id, cast.dave).reason == "account closed"


def test_a_contract_that_stopped_since_is_the_reason(cast: Cast, mail_server: MailServer) -> None:
    notice_id = send(make_draft("contacts", Topic.POINT))
    with transaction():
        contracts.suspend(contracts.find_contract(cast.other_contract), actor=None, now=NOW)
    deliver_due(now=lambda: NOW)
    assert sorted(mail_server.recipients()) == [cast.alice, cast.bob]
    assert delivery_to(notice_id, cast.carol).reason == "contract suspended"


@pytest.mark.parametrize(
    ("audience", "topic", "because"),
    [
        (
            "contacts",
            None,
            "You get this because you are a contact of a priority support contract for Macro Studio. Such mail cannot be switched off.",
        ),
        (
            "contacts",
            Topic.POINT,
            "you are a contact of a priority support contract for Macro Studio, and notices about point releases are on for you.",
        ),
        ("subscribers", Topic.POINT, "You get this because you chose notices about point releases of Macro Studio."),
    ],
)
def test_the_mail_says_why_one_gets_it(
    cast: Cast, mail_server: MailServer, audience: str, topic: Topic | None, because: str
) -> None:  # fmt: skip
    send(make_draft(audience, topic))
    deliver_due(now=lambda: NOW)
    message = mail_server.accepted[0].message
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert because in " ".join(text.get_content().split())
    assert because in html.get_content()
    assert "* Install 15.2.1." in text.get_content()
    assert "<strong>15.2.1</strong>" in html.get_content()
    assert (message["List-Unsubscribe"] is None) is (topic is None)


def test_markdown_is_never_a_template_nor_html(cast: Cast) -> None:
    body = "{{ 7 * 7 }} {% raw %} <script>alert(1)</script>"
    mail = announcements.preview(get(make_draft(body=body, subject="{{ config }} & <b>")), recipient=Recipient("a@example.org"), now=NOW)
    assert mail.subject == "{{ config }} & <b>"
    assert "{{ 7 * 7 }} {% raw %} <script>" in mail.text
    assert "{{ 7 * 7 }}" in mail.html
    assert "<script" not in mail.html
    assert "<b>" not in mail.html


def test_a_test_goes_to_whoever_asks_whatever_became_of_the_draft(cast: Cast, mail_server: MailServer) -> None:
    announcement_id = make_draft("contacts", Topic.BETA)
    with transaction():
        announcements.send_test(announcement_id, actor=find_user(cast.paula), now=NOW)
        announcements.discard(announcement_id, actor=None, now=NOW)
    deliver_due(now=lambda: NOW)
    (mail,) = mail_server.accepted
    assert mail.recipients == [cast.paula]
    assert mail.message["Subject"] == "[Test] A hole is closed"
    body = mail.message.get_body(("plain",))
    assert body is not None
    assert "you asked for a test" in body.get_content()


def test_announcing_the_very_same_again_is_refused(cast: Cast) -> None:
    with transaction():
        announcement, people = announcements.announce(words(), actor=None, now=NOW)
        assert people == 3
        assert announcement.sent_at == NOW
    with pytest.raises(Conflict, match="2026-11-24 at 09:00 UTC"), transaction():
        announcements.announce(words(subject=" A hole is closed "), actor=None, now=LATER)
    with transaction():
        announcements.announce(words(subject="A hole is closed, once more"), actor=None, now=LATER)
    assert len(notices()) == 2


def test_two_commands_at_once_announce_once(app: Flask, cast: Cast) -> None:
    db.session.remove()
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def run() -> None:
        with app.app_context():
            together.wait()
            try:
                with transaction():
                    announcements.announce(words(), actor=None, now=NOW)
                outcomes.append("sent")
            except Conflict:
                outcomes.append("refused")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused", "sent"]
    assert len(notices()) == 1


def test_each_act_leaves_an_event(cast: Cast) -> None:
    paula = find_user(cast.paula)
    with transaction():
        announcement = announcements.create(words("seats"), actor=paula, now=NOW)
        announcements.edit(announcement.id, words("contacts"), revision=1, actor=paula, now=NOW)
        announcements.send_test(announcement.id, actor=paula, now=NOW)
        announcements.send(announcement.id, actor=paula, now=NOW)
        other = announcements.create(words(), actor=paula, now=NOW)
        announcements.discard(other.id, actor=paula, now=NOW)
    events = list(db.session.scalars(sa.select(AuditEvent).where(AuditEvent.subject_type == "announcement").order_by(AuditEvent.id)))
    assert [event.action.partition(".")[2] for event in events] == ["created", "edited", "tested", "sent", "created", "discarded"]
    assert {event.actor for event in events} == {"Paula Example"}
    assert events[3].details["people"] == 3
    assert all(BODY.strip() not in str(event.details) for event in events)


def test_sending_takes_the_same_statements_for_4_people_and_40(app: Flask, cast: Cast) -> None:
    def cost() -> int:
        announcement_id = make_draft("seats")
        with statements(app) as seen:
            send(announcement_id)
        return len(seen)

    few = cost()
    with transaction():
        for number in range(18):
            buyer = contracts.create_organization(f"Example {number}", actor=None, now=NOW)
            product = find_product(cast.product)
            contract = contracts.create_contract(f"N-{number}", buyer, product, NOW.date(), time_zone="UTC", actor=None, now=NOW)
            for seat in (1, 2):
                email = f"seat{seat}@customer{number}.example.org"
                contacts.name_contact(contract, name="Sam", email=email, actor=None, now=NOW, invite=False)
    assert cost() == few
