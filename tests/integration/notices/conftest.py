"""A mail server, an app that sends to it, and a small kind of notice to send."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from jinja2 import ChoiceLoader, DictLoader

from portal.account.models import User
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import kinds, outbox
from portal.notices.models import Delivery, Notice, Topic
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW, make_settings
from tests.smtp import MailServer

KIND = "note"
TEMPLATES = {
    "notices/note/subject.txt": "{{ title }}",
    "notices/note/body.txt": '{% extends "notices/layout.txt" %}{% block content %}Dear {{ recipient_name }}, {{ text }}{% endblock %}',
    "notices/note/body.html": (
        '{% extends "notices/layout.html" %}{% import "notices/parts.html" as mail %}'
        "{% block preheader %}{{ title }}{% endblock %}{% block content %}{{ mail.title(title) }}{{ mail.paragraph(text) }}{% endblock %}"
    ),
    "notices/broken/subject.txt": "{{ 1 / 0 }}",
    "notices/broken/body.txt": "",
    "notices/broken/body.html": "",
}


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    """One connection, so that one mail goes after the other."""
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url, smtp_timeout=5, smtp_connections=1)


@pytest.fixture(autouse=True)
def note_kinds(app: Flask) -> None:
    """Make the kinds of these tests known, with templates of their own."""
    environment = app.extensions["portal.mail_environment"]
    environment.loader = ChoiceLoader([DictLoader(TEMPLATES), environment.loader])
    kinds.register(kinds.Kind(KIND))
    kinds.register(kinds.Kind("broken"))


@pytest.fixture
def product_id(app_context: None, cast: Cast) -> int:
    return db.session.scalars(sa.select(Product.id).where(Product.slug == cast.product)).one()


Enqueue = Callable[..., int]


@pytest.fixture
def enqueue(app_context: None) -> Enqueue:
    """Return a function that puts a notice to the people with these addresses into the outbox, and gives its id."""

    def do(
        *addresses: str,
        kind: str = KIND,
        topic: Topic | None = None,
        product_id: int | None = None,
        text: str = "hello",
        now: datetime = NOW,
        **context: object,
    ) -> int:
        audience = sa.select(User.id, User.email, User.name).where(User.email.in_(addresses))
        with transaction():
            values = {"title": "News", "text": text, **context}
            return outbox.enqueue(kind, audience, context=values, topic=topic, product_id=product_id, now=now).id

    return do


def delivery_to(notice_id: int, address: str) -> Delivery:
    """Return a delivery as the database has it now."""
    db.session.rollback()
    return db.session.scalars(sa.select(Delivery).where(Delivery.notice_id == notice_id, Delivery.address == address)).one()


def notice(notice_id: int) -> Notice:
    return db.session.get_one(Notice, notice_id)
