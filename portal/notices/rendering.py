"""From a delivery to the bytes of its mail.

A kind's templates lie in `templates/notices/<kind>/`. They see the notice's context, what the kind adds for everybody and for
this person, and the names in `Renderer._common` and `Renderer.variables`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from flask import Flask, current_app
from jinja2 import Environment

from portal.config import Settings, current_settings
from portal.database import db
from portal.notices import kinds, links, mail_text, mime
from portal.notices.models import Delivery, Notice, Topic
from portal.notices.smtp import deliverable_form
from portal.notices.topics import WORDS
from portal.products.models import Product
from portal.web import formatting

INERT = "#"
TEST_MARK = "[Test] "


class Unaddressable(Exception):
    """The delivery's address cannot stand in an envelope."""


@dataclass(frozen=True)
class Letter:
    """A mail ready to be sent to one address."""

    delivery_id: int
    address: str
    message: bytes


@dataclass(frozen=True)
class Recipient:
    """Whom a preview is made out to. `user_id` 0 stands for nobody in particular."""

    address: str
    name: str = ""
    user_id: int = 0


@dataclass(frozen=True)
class Preview:
    """A mail as staff see it before it goes out."""

    subject: str
    text: str
    html: str


class Renderer:
    """Renders the mails of one notice. What is the same for everybody is asked for once.

    Raises KeyError for a kind nobody registered, TemplateNotFound if it has no templates.
    """

    def __init__(self, notice: Notice, settings: Settings) -> None:
        self.notice = notice
        self.kind = kinds.find(notice.kind)
        self.settings = settings
        self.product = db.session.get(Product, notice.product_id) if notice.product_id is not None else None
        environment = mail_environment()
        self._subject, self._text, self._html = (
            environment.get_template(f"notices/{notice.kind}/{part}") for part in ("subject.txt", "body.txt", "body.html")
        )
        self._common = {**self._portal(), **notice.context, **self.kind.shared(notice)}

    def _portal(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "vendor_name": settings.vendor_name,
            "vendor_address": settings.vendor_address,
            "portal_name": settings.portal_name,
            "portal_url": settings.base_url,
            "support_email": settings.support_email,
            "product_name": self.product.name if self.product else None,
            "topic_label": WORDS[self.notice.topic].label if self.notice.topic else None,
            "test": False,
        }

    def variables(self, delivery: Delivery, now: datetime) -> dict[str, Any]:
        """What this person's mail is made of. A preview, whose delivery has id 0, gets links that lead nowhere."""
        return {
            **self._common,
            "recipient_name": mime.one_line(delivery.name),
            "unsubscribe_url": self._unsubscribe_url(delivery),
            "preferences_url": self._preferences_url(delivery),
            **self.kind.personal(self.notice, delivery, now),
        }

    def _unsubscribe_url(self, delivery: Delivery) -> str | None:
        if self.notice.topic is None or self.notice.product_id is None:
            return None
        if not delivery.id:
            return INERT
        return links.unsubscribe_url(self.settings, delivery.user_id, self.notice.product_id, self.notice.topic)

    def _preferences_url(self, delivery: Delivery) -> str | None:
        if self.notice.topic is None or self.notice.product_id is None:
            return None
        return links.preferences_url(self.settings, delivery.user_id, self.notice.product_id) if delivery.id else INERT

    def texts(self, delivery: Delivery, now: datetime) -> Preview:
        """Render the three parts."""
        variables = self.variables(delivery, now)
        subject = mime.one_line(self._subject.render(variables))
        if variables["test"] is True and not subject.startswith(TEST_MARK.strip()):
            subject = TEST_MARK + subject
        variables["subject"] = subject
        return Preview(subject, self._text.render(variables).strip() + "\n", self._html.render(variables))

    def letter(self, delivery: Delivery, now: datetime) -> Letter:
        """Render and put together the mail of one delivery. Raises Unaddressable, or whatever a template raises."""
        address = deliverable_form(delivery.address)
        if address is None:
            raise Unaddressable(delivery.address)
        parts = self.texts(delivery, now)
        headers = self._headers(delivery, address, parts.subject, now)
        boundary = f"=_n{self.notice.id}.d{delivery.id}"
        return Letter(delivery.id, address, mime.compose(headers, parts.text, parts.html, boundary))

    def _headers(self, delivery: Delivery, address: str, subject: str, now: datetime) -> list[tuple[str, str]]:
        settings, host = self.settings, self.settings.public_host
        headers = [
            ("From", mime.mailbox(settings.vendor_name, settings.mail_from)),
            ("To", mime.mailbox(delivery.name, address)),
            ("Reply-To", mime.mailbox(settings.vendor_name, settings.reply_to)),
            ("Subject", mime.unstructured("Subject", subject)),
            ("Date", format_datetime(now)),
            ("Message-ID", message_id(delivery.id, self.notice.id, host)),
            ("Auto-Submitted", "auto-generated"),
            ("Feedback-ID", f"{self.notice.id}:{self.notice.kind}:{self.notice.topic or 'always'}:{host}"),
        ]
        unsubscribe = self._unsubscribe_url(delivery)
        topic = self.notice.topic
        if unsubscribe is not None and self.product is not None and topic is not None:
            list_name = mime.one_line(f"{self.product.name}, {WORDS[topic].label}")
            headers += [
                ("List-Id", mime.mailbox(list_name, f"{topic}.{self.product.slug}.{host}")),
                ("List-Unsubscribe", f"<{unsubscribe}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ]
        return headers


def message_id(delivery_id: int, notice_id: int, host: str) -> str:
    """The same for each attempt at a delivery, so that a receiver can drop the rare duplicate."""
    return f"<d{delivery_id}.n{notice_id}@{host}>"


def preview(
    kind: str, context: Mapping[str, Any], *, product_id: int | None, topic: Topic | None, recipient: Recipient, now: datetime
) -> Preview:
    """Render a notice that does not exist, for a page of the staff.

    Its notice and delivery have id 0 and are in no database; a kind's `shared` and `personal` are asked all the same.
    """
    notice = Notice(id=0, kind=kind, topic=topic, product_id=product_id, context=dict(context), created_at=now)
    delivery = Delivery(id=0, notice_id=0, user_id=recipient.user_id, address=recipient.address, name=recipient.name, created_at=now)
    return Renderer(notice, current_settings()).texts(delivery, now)


def init_app(app: Flask) -> None:
    """Prepare the environment in which mails are rendered: the app's templates, with filters of their own."""
    environment = app.jinja_env.overlay()
    environment.filters = {
        **app.jinja_env.filters,
        "mail_html": mail_text.mail_html,
        "mail_plain": mail_text.mail_plain,
        "wrapped": mail_text.wrapped,
        "long_date": formatting.long_date,
    }
    app.extensions["portal.mail_environment"] = environment


def mail_environment() -> Environment:
    environment: Environment = current_app.extensions["portal.mail_environment"]
    return environment
