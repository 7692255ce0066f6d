"""From a notice and its people to the bytes of their mails.

A kind's templates lie in `templates/notices/<kind>/`. They see the notice's context, what the kind adds for everybody, and the
names in `Renderer._common`. A text is rendered once per notice, with slots for what differs per person:

* `recipient_name`, `greeting` ("Hello Ann," and a blank line; nothing for somebody without a name), `unsubscribe_url` and
  `preferences_url`, which are None in mail that cannot be switched off;
* `slot("asked_for")`, a block that the kind's `slots` gives per person. Its own small templates, `asked_for.txt`,
  `asked_for.html` and, for a place in the subject, `asked_for.subject.txt`, see the value under the name of the block, and are
  rendered once for all people who share it. `slot("asked_for", "…")` says what stands there for everybody else.

Kinds with `personal` go to one person each and are rendered when they are sent, since what they hold may be a secret.
A template that asks for a name nobody gave it fails: no mail goes out with a hole in it.
"""

import email
import email.policy
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

from portal.config import Settings, current_settings
from portal.database import NO_ANSWER, db, release_connection
from portal.notices import kinds, links, mail_templates, mime, return_path, slots
from portal.notices.kinds import Due
from portal.notices.mail_templates import Unrenderable
from portal.notices.mime import Letter
from portal.notices.models import Delivery, Notice, Topic
from portal.notices.slots import MarkerLost, Markers, Piece, Slot, Values
from portal.notices.smtp import deliverable_form
from portal.notices.topics import WORDS
from portal.products.models import Product

log = logging.getLogger(__name__)

INERT = "#"
REMOVED = "(link removed)"
TEST_MARK = "[Test] "
NO_ADDRESS = "not an address that mail can go to"
FAILED_FOR_ONE = "could not be rendered for this person"
# How many different blocks of text are remembered at a time.
BLOCKS_KEPT = 2_000
# Slots that each mail can fill in by itself; all others are blocks of the kind.
_OWN = {"to", "date", "message_id", "unsubscribe", "subject", "recipient_name", "greeting", "unsubscribe_url", "preferences_url"}
# What a Renderer needs of its notice, and hands to the kind.
_COPIED = ("id", "kind", "key", "topic", "product_id", "context", "created_at", "created_by_id", "compiled")
# A block is written differently in each part: by its name, then by the part.
Blocks = Mapping[str, Mapping[str, str]]
_SUFFIX = {"subject": ".subject.txt", "text": ".txt", "html": ".html"}


class Unrendered(NamedTuple):
    """A delivery for which there is no mail, and why: of one person alone. Unless it is `final`, another try may have luck."""

    delivery_id: int
    reason: str
    final: bool


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
    """Makes the mails of one notice.

    `compiled` is the mail with its slots, for the notice to keep: from then on everybody reads that text, whatever becomes of
    the templates and of what they were filled with. None for a kind with `personal`, of which nothing may be kept.
    Raises Unrenderable for a kind nobody registered, and for a text that cannot be rendered. The database's own errors pass.
    """

    def __init__(self, notice: Notice, settings: Settings, *, masked: bool = False) -> None:
        # A copy: it stays readable when the connection is given back.
        self.notice = Notice(**{name: getattr(notice, name) for name in _COPIED})
        self.settings = settings
        self._masked = masked
        try:
            self.kind = kinds.find(notice.kind)
        except KeyError:
            raise Unrenderable(f"No part of the portal sends mail of the kind “{notice.kind}” any more.") from None
        product = db.session.get(Product, notice.product_id) if notice.product_id is not None else None
        self._product_name = product.name if product else None
        self._product_slug = product.slug if product else None
        self._can_be_switched_off = notice.topic is not None and product is not None
        self._mail: slots.Mail | None = None
        if self.kind.personal is None:
            self._mail = slots.load(notice.compiled) or self._compile({})
        # The same for each attempt at a delivery, so that a receiver can drop the rare duplicate.
        self._message_id_end = f"{notice.id}@{settings.public_host}"
        self._block = lru_cache(maxsize=BLOCKS_KEPT)(self._render_block)
        self._date = lru_cache(maxsize=16)(format_datetime)

    @property
    def compiled(self) -> dict[str, Any] | None:
        return self._mail.dump() if self._mail else None

    def letters(self, people: Sequence[Due], now: datetime) -> Iterable[Letter | Unrendered]:
        """Return the mail of each person, in the same order, or why there is none for that person.

        The database is asked at once; mails are put together as they are taken. Raises Unrenderable where it is not one person's
        trouble.
        """
        blocks = self._blocks(people, now)
        if self._mail is None:
            return [self._letter(person, blocks, now) for person in people]
        return (self._letter(person, blocks, now) for person in people)

    def _letter(self, person: Due, blocks: Mapping[int, Blocks | None], now: datetime) -> Letter | Unrendered:
        address = envelope_form(person.address)
        if address is None:
            return Unrendered(person.id, NO_ADDRESS, final=True)
        mail, block = self._mail_for(person, now), blocks.get(person.id, {})
        if mail is None or block is None:
            return Unrendered(person.id, FAILED_FOR_ONE, final=False)
        message = mail.fill(self._values(mail, person, address, block))
        return Letter(person.id, address, return_path.make(self.settings, person.id), message)

    def texts(self, person: Due, now: datetime) -> Preview:
        """Return what a person reads, whatever their address is. A preview, whose delivery has id 0, gets links that lead nowhere."""
        mail, block = self._mail_for(person, now), self._blocks([person], now).get(person.id, {})
        if mail is None or block is None:
            raise Unrenderable(f"This mail {FAILED_FOR_ONE}.")
        values = self._values(mail, person, self.settings.mail_from, block)
        message = email.message_from_bytes(mail.fill(values), policy=email.policy.default)
        return Preview(mail.subject_for(values), _part(message, "plain"), _part(message, "html"))

    # What is the same for everybody

    def _compile(self, personal: Mapping[str, Any]) -> slots.Mail:
        """Render the text. Raises Unrenderable."""
        try:
            shared = self.kind.shared(self.notice)
        except NO_ANSWER:
            raise
        except Exception as error:
            raise Unrenderable(f"What this mail is about cannot be read: {mail_templates.words(error)}") from error
        common = {**self._common(), **self.notice.context, **shared, **personal}
        markers = Markers()
        subject = self._rendered("subject", "subject.txt", common, markers)
        if common["test"] is True:
            subject.insert(0, TEST_MARK)
        if any(isinstance(piece, Slot) for piece in subject):
            header: Piece = Slot("subject", "subject")
            common["subject"] = markers.mark(Slot("html", "subject"), known_to_be_there=True)
        else:
            text = mime.one_line("".join(str(piece) for piece in subject))
            header, subject, common["subject"] = mime.unstructured("Subject", text), [text], text
        text_pieces = self._rendered("text", "body.txt", common, markers)
        html_pieces = self._rendered("html", "body.html", common, markers)
        return slots.Mail(subject, slots.compose(self._headers(header), text_pieces, html_pieces, f"=_n{self.notice.id}"))

    def _common(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "vendor_name": settings.vendor_name,
            "vendor_address": settings.vendor_address,
            "portal_name": settings.portal_name,
            "portal_url": settings.base_url,
            "support_email": settings.support_email,
            "product_name": self._product_name,
            "topic_label": WORDS[self.notice.topic].label if self.notice.topic else None,
            "test": False,
        }

    def _rendered(self, part: str, template: str, common: Mapping[str, Any], markers: Markers) -> list[Piece]:
        """Render one part with markers in it, and return its pieces."""

        def slot(name: str, otherwise: str = "") -> str:
            mail_templates.find(
                f"notices/{self.notice.kind}/{name}{_SUFFIX[part]}"
            )  # missing, it would fail only once somebody has such a block
            return markers.mark(Slot(part, name, otherwise=str(otherwise)))

        can_be_switched_off = self._can_be_switched_off
        variables = {
            "recipient_name": markers.mark(Slot(part, "recipient_name")),
            "greeting": self._greeting(part, common, markers),
            "unsubscribe_url": markers.mark(Slot(part, "unsubscribe_url"), known_to_be_there=True) if can_be_switched_off else None,
            "preferences_url": markers.mark(Slot(part, "preferences_url"), known_to_be_there=True) if can_be_switched_off else None,
            "slot": slot,
            **common,
        }
        name = f"notices/{self.notice.kind}/{template}"
        text = mail_templates.render(name, variables).strip()
        try:
            return markers.split(text if part == "subject" else f"{text}\n")
        except MarkerLost as error:
            raise Unrenderable(f"The template {name} {error}.") from error

    def _greeting(self, part: str, common: Mapping[str, Any], markers: Markers) -> str:
        if part == "subject":
            return ""
        name = f"notices/greeting{_SUFFIX[part]}"
        inner = Markers()
        text = mail_templates.render(name, {**common, "recipient_name": inner.mark(Slot(part, "recipient_name"))}).strip()
        before, _, after = inner.split(text)
        return markers.mark(Slot(part, "greeting", str(before), f"{after}\n\n" if part == "text" else f"{after}\n"))

    def _headers(self, subject: Piece) -> list[tuple[str, Piece]]:
        settings, host, topic = self.settings, self.settings.public_host, self.notice.topic
        headers: list[tuple[str, Piece]] = [
            ("From", mime.mailbox(settings.vendor_name, settings.mail_from)),
            ("To", Slot("header", "to")),
            ("Reply-To", mime.mailbox(settings.vendor_name, settings.reply_to)),
            ("Subject", subject),
            ("Date", Slot("header", "date")),
            ("Message-ID", Slot("header", "message_id")),
            ("Auto-Submitted", "auto-generated"),
            ("Feedback-ID", f"{self.notice.id}:{self.notice.kind}:{topic or 'always'}:{host}"),
        ]
        if self._can_be_switched_off and topic is not None:
            list_name = mime.one_line(f"{self._product_name}, {WORDS[topic].label}")
            headers += [
                ("List-Id", mime.mailbox(list_name, f"{topic}.{self._product_slug}.{host}")),
                ("List-Unsubscribe", Slot("header", "unsubscribe")),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ]
        return headers

    # What differs per person

    def _values(self, mail: slots.Mail, person: Due, address: str, blocks: Blocks) -> Values:
        name = mime.one_line(person.name)
        values: dict[str, str | Mapping[str, str]] = {
            "to": mime.mailbox(name, address),
            "date": self._date(person.attempted_at),
            "message_id": f"<d{person.id}.n{self._message_id_end}>",
            "recipient_name": name,
            "greeting": name,
            **blocks,
        }
        topic, product_id = self.notice.topic, self.notice.product_id
        if self._can_be_switched_off and topic is not None and product_id is not None:
            if self._masked:
                inert = {"text": REMOVED, "html": INERT}
                values |= {"unsubscribe": REMOVED, "unsubscribe_url": inert, "preferences_url": inert}
            else:
                unsubscribe, preferences = INERT, INERT
                if person.id:
                    unsubscribe = links.unsubscribe_url(self.settings, person.user_id, product_id, topic)
                    preferences = links.preferences_url(self.settings, person.user_id, product_id)
                values |= {"unsubscribe": f"<{unsubscribe}>", "unsubscribe_url": unsubscribe, "preferences_url": preferences}
        if not mail.has_fixed_subject:
            values["subject"] = mail.subject_for(values)
        return values

    def _mail_for(self, person: Due, now: datetime) -> slots.Mail | None:
        """Return the mail to fill in, None if what is for this person alone failed.

        Of a kind with `personal` it is made for this person and nobody else, and kept nowhere.
        """
        if self._mail is not None:
            return self._mail
        assert self.kind.personal is not None
        try:
            personal = self.kind.personal(self.notice, person, now)
        except Exception:
            log.exception("the personal part of notice %s failed", self.notice.id)
            release_connection()  # a statement that failed would spoil the ones after it
            return None
        return self._compile({name: _mask(value) for name, value in personal.items()} if self._masked else personal)

    def _blocks(self, people: Sequence[Due], now: datetime) -> Mapping[int, Blocks | None]:
        """Return each person's blocks by delivery id, None where one failed. People who have none may be left out."""
        wanted = self._mail.names - _OWN if self._mail else set()
        if not wanted:
            return {}
        try:
            given = self.kind.slots(self.notice, people, now)
        except NO_ANSWER:
            raise
        except Exception as error:
            raise Unrenderable(f"What differs per person cannot be read: {mail_templates.words(error)}") from error
        return {delivery_id: self._blocks_of(values, wanted) for delivery_id, values in given.items()}

    def _blocks_of(self, values: Mapping[str, Any], wanted: Collection[str]) -> Blocks | None:
        """Return one person's blocks, None if one of them failed."""
        blocks = {name: self._block(name, slots.key_of(values[name])) for name in wanted if values.get(name)}
        return {name: block for name, block in blocks.items() if block is not None} if None not in blocks.values() else None

    def _render_block(self, name: str, key: str) -> Mapping[str, str] | None:
        """Render a block for all parts that have a slot for it. A block of text ends in a blank line. None if it failed."""
        assert self._mail is not None
        variables = {**self._common(), name: json.loads(key)}
        rendered: dict[str, str] = {}
        for part in self._mail.parts_of(name):
            try:
                text = mail_templates.render(f"notices/{self.notice.kind}/{name}{_SUFFIX[part]}", variables).strip()
            except Unrenderable:
                log.exception("a block of notice %s failed", self.notice.id)
                return None
            end = {"subject": "", "text": "\n\n", "html": "\n"}[part] if text else ""
            rendered[part] = Markup(text + end) if part == "html" else text + end  # nosec B704 # noqa: S704 - the template has escaped it
        return rendered


def envelope_form(address: str) -> str | None:
    """Return `address` as it goes into the envelope and the To header. None for what is not plainly one address."""
    if mime.is_plain_address(address) and address.isascii():
        return address
    form = deliverable_form(address)
    return form if form is not None and mime.is_plain_address(form) else None


def due_of(delivery: Delivery) -> Due:
    """Return a delivery as rendering sees it. Its mail bears the time of the last attempt at it."""
    at = delivery.attempted_at or delivery.created_at
    return Due(delivery.id, delivery.user_id, delivery.address, delivery.name, at)


def preview(
    kind: str, context: Mapping[str, Any], *, product_id: int | None, topic: Topic | None, recipient: Recipient, now: datetime
) -> Preview:
    """Render a notice that does not exist, for a page of the staff.

    Its notice and delivery have id 0 and are in no database; a kind's `shared`, `slots` and `personal` are asked all the same.
    Raises Unrenderable.
    """
    notice = Notice(id=0, kind=kind, topic=topic, product_id=product_id, context=dict(context), created_at=now)
    return Renderer(notice, current_settings()).texts(Due(0, recipient.user_id, recipient.address, recipient.name, now), now)


def as_sent(delivery: Delivery) -> bytes:
    """Return the mail of a delivery as it went out at the last attempt, for a page of the staff.

    Links that act for the person are left out: those made when the mail is sent, which may sign somebody in, and those to
    unsubscribe and to choose notices, by which staff could switch off what the person wants.
    Raises Unrenderable if there is no such mail.
    """
    due = due_of(delivery)
    [made] = Renderer(delivery.notice, current_settings(), masked=True).letters([due], due.attempted_at)
    if isinstance(made, Unrendered):
        raise Unrenderable(f"There is no mail: {made.reason}.")
    return made.message


def _mask(value: Any) -> Any:
    """What stands for a personal value on a page of the staff: all but links, which are what such mail is secret for."""
    return REMOVED if isinstance(value, str) and "://" in value else value


def _part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")
