"""The exact mail a person got, as the staff see it."""

import email
import email.policy
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import ChoiceLoader, DictLoader

from portal.config import Settings
from portal.database import db, transaction
from portal.notices import kinds
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery
from tests.cast import Cast
from tests.conftest import NOW, make_settings
from tests.integration.notices.conftest import TEMPLATES
from tests.smtp import MailServer
from tests.web.notices.conftest import Enqueue

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url, smtp_timeout=5)


@pytest.fixture(autouse=True)
def note_kinds(app: Flask) -> None:
    environment = app.extensions["portal.mail_environment"]
    environment.loader = ChoiceLoader([DictLoader(TEMPLATES), environment.loader])
    kinds.register(kinds.Kind("note"))


def deliver(app: Flask) -> None:
    with app.app_context():
        deliver_due(now=lambda: NOW)


def mail_of(app: Flask, notice_id: int, address: str) -> str:
    """The address of the page of this person's mail."""
    with app.app_context():
        wanted = sa.select(Delivery.id).where(Delivery.notice_id == notice_id, Delivery.address == address)
        return f"/staff/notices/{notice_id}/mails/{db.session.scalar(wanted)}/"


def test_the_mail_is_the_one_that_went_over_the_wire(
    app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast, mail_server: MailServer
) -> None:
    notice_id = enqueue(cast.alice, cast.bob, kind="note")
    deliver(app)
    client = sign_in(cast.paula)
    url = mail_of(app, notice_id, cast.bob)
    assert url in client.get(f"/staff/notices/{notice_id}/").text
    page = client.get(url).text
    assert "Mail to bob@logistics.example.org" in page
    assert "250 2.0.0 accepted" in page
    for header in ("List-Unsubscribe-Post", "Message-ID", "Feedback-ID"):
        assert f">{header}</th>" in page
    assert "Dear Bob Example, It is out." in page
    assert cast.alice not in page
    assert f'<iframe class="preview" src="{url}mail.html"' in page
    assert " sandbox></iframe>" in page
    source = client.get(f"{url}mail.eml")
    sent, shown_source = (
        email.message_from_bytes(one, policy=email.policy.default) for one in (mail_server.to(cast.bob)[0].content, source.data)
    )
    assert [(name, value) for name, value in sent.items() if name != "List-Unsubscribe"] == [
        (name, value) for name, value in shown_source.items() if name != "List-Unsubscribe"
    ]
    assert source.mimetype == "message/rfc822"
    assert "attachment" in source.headers["Content-Disposition"]
    shown = client.get(f"{url}mail.html")
    assert "It is out." in shown.text
    assert "sandbox" in shown.headers["Content-Security-Policy"]
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert "no-store" in shown.headers["Cache-Control"]


@pytest.mark.parametrize("rest", ["", "mail.html", "mail.eml"])
def test_only_publishers_and_admins_read_other_peoples_mail(
    app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast, client: FlaskClient, rest: str
) -> None:
    notice_id = enqueue(cast.alice, kind="note")
    deliver(app)
    url = mail_of(app, notice_id, cast.alice) + rest
    allowed = {cast.paula: 200, cast.ada: 200, cast.petra: 404, cast.anton: 404, cast.alice: 404}
    assert {person: sign_in(person).get(url).status_code for person in allowed} == allowed
    assert client.get(url).status_code == 302


def test_where_no_mail_went_the_page_says_why(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.carol, kind="note")
    client = sign_in(cast.paula)
    url = mail_of(app, notice_id, cast.carol)
    page = client.get(url).text
    assert "There is no mail to carol@foods.example.org to show yet." in page
    assert "<iframe" not in page
    for rest in ("mail.html", "mail.eml"):
        answer = client.get(url + rest)
        assert (answer.status_code, "to show yet" in answer.text) == (409, True)
    assert url not in client.get(f"/staff/notices/{notice_id}/").text


def test_a_mail_that_cannot_be_made_again_says_so(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, kind="note")
    deliver(app)
    url = mail_of(app, notice_id, cast.alice)
    with app.app_context(), transaction():
        db.session.execute(sa.update(Delivery).values(address="no plain address"))
    client = sign_in(cast.paula)
    page = client.get(url).text
    assert "This mail cannot be shown." in page
    assert "<iframe" not in page
    assert client.get(f"{url}mail.eml").status_code == 409


def test_a_link_that_signs_in_is_left_out(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast, mail_server: MailServer) -> None:
    notice_id = enqueue(cast.alice, kind="note")
    kinds.register(kinds.Kind("note", personal=lambda notice, due, now: {"text": "Go to https://portal.example.org/reset/abc"}))
    deliver(app)
    assert b"reset/abc" in mail_server.to(cast.alice)[0].content
    client = sign_in(cast.paula)
    url = mail_of(app, notice_id, cast.alice)
    for rest in ("", "mail.html", "mail.eml"):
        answer = client.get(url + rest)
        assert (answer.status_code, "reset/abc" in answer.text) == (200, False)


def test_links_that_act_for_the_person_are_left_out(
    app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast, mail_server: MailServer
) -> None:
    notice_id = enqueue(cast.alice, kind="note")
    deliver(app)
    got = in_full(mail_server.to(cast.alice)[0].content)
    links = set(re.findall(r"/notices/(?:unsubscribe|preferences)/[\w.-]+", got))
    assert len(links) == 2
    client = sign_in(cast.paula)
    url = mail_of(app, notice_id, cast.alice)
    page, html, source = (client.get(url + rest) for rest in ("", "mail.html", "mail.eml"))
    for shown in (page.text, html.text, in_full(source.data)):
        assert not [link for link in links if link in shown]
        assert "/notices/unsubscribe/" not in shown
    assert page.text.count("(link removed)") == 3
    assert "List-Unsubscribe: (link removed)" in in_full(source.data)
    assert 'href="#"' in html.text


def in_full(raw: bytes) -> str:
    """The headers and both alternatives of a mail, decoded."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    headers = [f"{name}: {value}" for name, value in message.items()]
    return "\n".join(headers + [part.get_content() for part in message.walk() if not part.is_multipart()])


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
