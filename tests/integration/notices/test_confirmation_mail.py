"""The mail that asks, as it leaves: one link that works, no name, no other address, and through to an address that is held up."""

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import opt_in
from portal.account.models import User
from portal.database import db, transaction
from portal.notices import requests, subscriptions, suppression
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState, Topic
from portal.products.catalog import find_product
from tests.cast import Cast
from tests.conftest import NOW
from tests.smtp import MailServer

pytestmark = pytest.mark.usefixtures("app_context")


def deliver() -> None:
    deliver_due(now=lambda: NOW + timedelta(seconds=1))


def plain_text(mail_server: MailServer, address: str) -> str:
    part = mail_server.to(address)[-1].message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def test_the_link_in_the_mail_confirms(app: Flask, cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        opt_in.ask_address("new@example.org", "Call evil.example.org", find_product(cast.product), [Topic.MINOR], now=NOW)
    deliver()
    accepted = mail_server.to("new@example.org")[0]
    assert accepted.recipients == ["new@example.org"]
    assert "evil.example.org" not in accepted.content.decode()
    assert accepted.message["Subject"] == "Confirm: mail about minor releases of Macro Studio"
    assert accepted.message["List-Unsubscribe"] is None
    links = re.findall(r"\S+/notices/confirm/\S+", plain_text(mail_server, "new@example.org"))
    assert len(links) == 1
    assert links[0].startswith("http://127.0.0.1:8000/notices/confirm/")
    html = accepted.message.get_body(("html",))
    assert html is not None
    assert links[0] in html.get_content()
    assert app.test_client().post(links[0].removeprefix("http://127.0.0.1:8000")).status_code == 200
    db.session.rollback()
    user_id, product_id = db.session.scalars(sa.select(User.id).where(User.email == "new@example.org")).one(), find_product(cast.product).id
    assert subscriptions.is_wanted(user_id, product_id, Topic.MINOR)


def test_a_customer_is_asked_in_words_of_the_vendor(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        opt_in.ask_customers([cast.erin, cast.dave], find_product(cast.product), actor=None, now=NOW)
    deliver()
    erin, dave = (" ".join(plain_text(mail_server, address).split()) for address in (cast.erin, cast.dave))
    assert "May we write to you when minor and major releases of Macro Studio come out?" in erin
    assert re.findall(r"/confirm/(\S+)", erin) != re.findall(r"/confirm/(\S+)", dave)
    assert cast.dave not in erin
    assert set(mail_server.rcpt_counts) == {1}


def test_it_reaches_an_address_that_other_mail_does_not(cast: Cast, mail_server: MailServer) -> None:
    with transaction():
        suppression.add(cast.erin, "550 5.1.1 no such user", now=NOW)
        user_id = db.session.scalars(sa.select(User.id).where(User.email == cast.erin)).one()
        assert requests.ask_one(user_id, None, [], now=NOW, most=3)
    deliver()
    assert "Confirm that this address works" in " ".join(plain_text(mail_server, cast.erin).split())


def test_what_was_withdrawn_before_it_was_sent_is_not_sent(cast: Cast, mail_server: MailServer) -> None:
    product_id = find_product(cast.product).id
    with transaction():
        user_id = db.session.scalars(sa.select(User.id).where(User.email == cast.erin)).one()
        requests.ask_one(user_id, product_id, [Topic.MINOR], now=NOW, most=3)
        subscriptions.choose(user_id, product_id, Topic.MINOR, wanted=False, now=NOW)
    deliver()
    assert mail_server.accepted == []
    assert db.session.scalars(sa.select(Delivery.state)).all() == [DeliveryState.SKIPPED]
