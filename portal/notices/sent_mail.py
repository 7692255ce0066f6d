"""One mail as its recipient got it, taken apart for a page of the staff by Python's own parser."""

import email
import email.policy
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from portal.notices import rendering
from portal.notices.models import Delivery


@dataclass(frozen=True)
class SentMail:
    """A mail, taken apart. `raw` is what went over the wire, but for the links that act for its recipient; `headers` are decoded."""

    raw: bytes
    subject: str
    headers: Sequence[tuple[str, str]]
    text: str
    html: str


def was_tried(delivery: Delivery) -> bool:
    """Whether a mail was made for this delivery and offered to a mail server, and can still be shown. Not so if it was skipped, waits
    for its first try, or its address was forgotten."""
    return delivery.attempts > 0 and bool(delivery.address)


def read(delivery: Delivery) -> SentMail:
    """Rebuild and parse the mail of a delivery. Raises Unrenderable."""
    raw = rendering.as_sent(delivery)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    headers = [(name, str(value)) for name, value in message.items()]
    return SentMail(raw, str(message["Subject"]), headers, _part(message, "plain"), _part(message, "html"))


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return str(body.get_content()) if body is not None else ""
