"""What arrives: headers, both parts, links for those who can switch the mail off and none for the rest."""

from email.message import EmailMessage

import sqlalchemy as sa
from flask import Flask

from portal.database import db
from portal.notices import kinds, links, rendering
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, Notice, Topic
from portal.notices.rendering import Recipient
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.notices.conftest import KIND, Enqueue, delivery_to
from tests.smtp import MailServer


def text_of(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content())


def test_the_headers_of_a_notice(cast: Cast, enqueue: Enqueue, mail_server: MailServer, product_id: int, app: Flask) -> None:
    notice_id = enqueue(cast.alice, topic=Topic.POINT, product_id=product_id, title="Größere Änderungen: 15.2.1")
    deliver_due(now=lambda: NOW)
    mail = mail_server.accepted[0]
    message = mail.message
    delivery = delivery_to(notice_id, cast.alice)
    settings = app.extensions["portal.settings"]
    assert mail.sender == "releases@example.org"
    assert message["Message-ID"] == f"<d{delivery.id}.n{notice_id}@127.0.0.1>"
    assert str(message["From"]) == '"Northwind Automation" <releases@example.org>'.replace('"', "")
    assert str(message["To"]) == f"Alice Example <{cast.alice}>"
    assert message["Reply-To"].addresses[0].addr_spec == "support@example.org"
    assert message["Subject"] == "Größere Änderungen: 15.2.1"
    assert message["Date"].datetime == NOW
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Feedback-ID"] == f"{notice_id}:note:point:127.0.0.1"
    assert message["List-Id"] == '"Macro Studio, point releases" <point.macro-studio.127.0.0.1>'
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = links.unsubscribe_url(settings, delivery.user_id, product_id, Topic.POINT)
    assert f"\r\nList-Unsubscribe: <{link}>\r\n".encode() in mail.content
    for part in ("plain", "html"):
        assert link in text_of(message, part)
        assert links.preferences_url(settings, delivery.user_id, product_id) in text_of(message, part)
    assert message.get_content_type() == "multipart/alternative"
    assert max(len(line) for line in mail.content.split(b"\r\n")) <= 998


def test_mail_that_cannot_be_switched_off_offers_no_link_to_do_so(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    enqueue(cast.alice)
    deliver_due(now=lambda: NOW)
    message = mail_server.accepted[0].message
    assert [name for name in message if name.startswith("List-")] == []
    assert "unsubscribe" not in text_of(message, "plain").lower() + text_of(message, "html").lower()
    assert "cannot be switched off" in text_of(message, "plain")


def test_html_is_escaped_and_plain_text_is_not(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    enqueue(cast.alice, text='<b>Tom & "Jerry"</b>')
    deliver_due(now=lambda: NOW)
    message = mail_server.accepted[0].message
    assert '<b>Tom & "Jerry"</b>' in text_of(message, "plain")
    assert "&lt;b&gt;Tom &amp; &#34;Jerry&#34;&lt;/b&gt;" in text_of(message, "html")


def test_what_is_shared_is_asked_for_once_and_read_by_all(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    asked: list[int] = []

    def shared(notice: Notice) -> dict[str, str]:
        asked.append(notice.id)
        return {"title": "From the kind"}

    kinds.register(kinds.Kind(KIND, shared=shared))
    notice_id = enqueue(cast.alice, cast.bob)
    deliver_due(now=lambda: NOW)
    assert asked == [notice_id]
    assert [mail_server.to(person)[0].message["Subject"] for person in (cast.alice, cast.bob)] == ["From the kind"] * 2


def test_a_personal_kind_is_rendered_for_each_person_and_kept_nowhere(cast: Cast, enqueue: Enqueue, mail_server: MailServer) -> None:
    kinds.register(kinds.Kind(KIND, personal=lambda notice, delivery, now: {"text": f"only for {delivery.address}"}))
    notice_id = enqueue(cast.alice, cast.bob)
    deliver_due(now=lambda: NOW)
    for person in (cast.alice, cast.bob):
        assert f"only for {person}" in text_of(mail_server.to(person)[0].message, "plain")
    assert db.session.get_one(Notice, notice_id).compiled is None


def test_a_preview_shows_the_mail_without_links_that_work_and_leaves_no_row(cast: Cast, product_id: int) -> None:
    shown = rendering.preview(
        KIND,
        {"title": "News", "text": "hello"},
        product_id=product_id,
        topic=Topic.POINT,
        recipient=Recipient(cast.alice, "Alice Example"),
        now=NOW,
    )
    assert shown.subject == "News"
    assert "Dear Alice Example, hello" in shown.text
    assert 'href="#"' in shown.html
    assert "/notices/" not in shown.html + shown.text
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 0
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Delivery)) == 0
