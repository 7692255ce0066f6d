"""Reading a mail that came back to a return path: did the delivery fail, is it late, or is it something else?

Delivery reports (RFC 3464; RFC 6533 for non-ASCII addresses) are read here, by Action and Status. What is no such report goes
to `flufl.bounce`, which knows the formats of many mail servers, and the status is looked for in their words.

The bytes are a stranger's: nothing in them raises, and nothing in them names an address to suppress. The addresses that a report
is about are only compared with the delivery's own: one that fails where a mail was forwarded to says nothing about the address
we wrote to.
"""

import enum
import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from email.utils import parseaddr

from flufl.bounce import all_failures

from portal.notices import bounces

log = logging.getLogger(__name__)

# A report stands before the mail it returns; the rest need not be read. Lines longer than any report has are cut, since the
# searches below and in flufl.bounce take the square of their length.
MOST_BYTES = 256_000
LONGEST_LINE = 500
WORDS_LENGTH = 1000
_AFTER_DATA = re.compile(r"end of data|data command", re.IGNORECASE)
_DAEMONS = ("mailer-daemon", "postmaster", "mail-daemon", "mailerdaemon")
_FAILED = ("fail", "error")  # OpenSMTPD says "error"
_REPORTS = ("message/delivery-status", "message/global-delivery-status")


class Saying(enum.StrEnum):
    """What a mail to a return path turned out to be."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    AUTOMATIC = "automatic reply"
    UNCLEAR = "no bounce"


@dataclass(frozen=True)
class Bounce:
    """What a returned mail says about the address we wrote to. `words` are the mail server's, in one line.

    `hard`: the address is gone. `elsewhere`: it is about another address, to which that mail was forwarded.
    """

    saying: Saying
    status: str | None = None
    words: str = ""
    hard: bool = False
    elsewhere: bool = False


@dataclass(frozen=True)
class _Finding:
    """What is said about one recipient, or about all of them."""

    saying: Saying
    recipients: frozenset[str]
    status: str | None = None
    words: str = ""


def parse(raw: bytes) -> Message:
    """Read the first MOST_BYTES of a raw message. Whatever the bytes are, there is a message, if an empty one."""
    lines = (line[:LONGEST_LINE] for line in raw[:MOST_BYTES].replace(b"\r\n", b"\n").split(b"\n"))
    try:
        return message_from_bytes(b"\n".join(lines))
    except Exception as error:  # parts within parts by the hundred: RecursionError
        log.warning("a returned mail could not be parsed: %s", type(error).__name__)
        return Message()


def read(message: Message, addresses: Collection[str]) -> Bounce:
    """Say what a returned mail means for the mailbox we wrote to, known as `addresses` (lower case)."""
    try:
        return _read(message, frozenset(addresses))
    except Exception as error:  # the email package and flufl.bounce meet bytes their authors did not think of
        log.warning("a returned mail could not be read: %s", type(error).__name__)
        return Bounce(Saying.UNCLEAR)


def _read(message: Message, own: frozenset[str]) -> Bounce:
    text = _text(message)
    findings = list(_reported(message))
    if not findings:
        if _is_automatic(message):
            return Bounce(Saying.AUTOMATIC)
        findings = list(_guessed(message))
    if not findings:
        return Bounce(Saying.UNCLEAR)
    about_us = [one for one in findings if one.recipients & own] or [one for one in findings if not one.recipients]
    failed = [one for one in findings if one.saying is Saying.FAILED]
    finding = (about_us or failed or findings)[0]
    words = (finding.words or _said_about(finding.recipients, text) or _line(_header(message, "subject")))[:WORDS_LENGTH]
    # "Permanent, of no known kind" is what a report says when the words know better.
    status = finding.status if finding.status not in {None, "5.0.0"} else bounces.find_status(words) or finding.status
    code = None if _AFTER_DATA.search(text) else bounces.find_code(words)
    hard = finding.saying is Saying.FAILED and bool(about_us) and bounces.judge(status, code, words)
    return Bounce(finding.saying, status, words, hard, elsewhere=not about_us)


def _reported(message: Message) -> Iterator[_Finding]:
    """What the fields of a delivery report say, recipient by recipient (RFC 3464, 2.3)."""
    for part in _parts(message):
        if part.get_content_type() not in _REPORTS:
            continue
        for fields in _blocks(part):
            action = _header(fields, "action").strip().lower()
            status = bounces.find_status(_header(fields, "status"))
            if not action and status is None:
                continue
            kind, _, words = _header(fields, "diagnostic-code").partition(";")
            recipients = (_recipient(_header(fields, name)) for name in ("original-recipient", "final-recipient"))
            yield _Finding(_meaning(action, status), frozenset(one for one in recipients if one), status, _line(words or kind))


def _blocks(part: Message) -> Iterator[Message]:
    """The groups of fields in a delivery report. The email package knows the ASCII kind alone, and takes the other for a mail."""
    payload = part.get_payload()
    for block in payload if isinstance(payload, list) else [payload]:
        if isinstance(block, Message):
            yield block
            rest = block.get_payload(decode=True)
            if isinstance(rest, bytes):
                yield from (message_from_bytes(fields) for fields in rest.split(b"\n\n") if fields.strip())


def _meaning(action: str, status: str | None) -> Saying:
    if status is not None and status.startswith("2."):
        return Saying.DELIVERED
    if action.startswith(_FAILED) or (not action and status is not None and status.startswith("5.")):
        return Saying.FAILED
    return Saying.DELAYED if action.startswith("delayed") or not action else Saying.DELIVERED


def _guessed(message: Message) -> Iterator[_Finding]:
    """What `flufl.bounce` makes of a mail that is no report."""
    temporary, permanent = all_failures(message)
    for saying, addresses in ((Saying.FAILED, permanent), (Saying.DELAYED, temporary)):
        if addresses:
            yield _Finding(saying, frozenset(_recipient(one.decode("utf-8", "replace")) for one in addresses))


def _is_automatic(message: Message) -> bool:
    """An answer while somebody is away (RFC 3834), or a receipt (RFC 8098). Mail servers' own mails may bear the same mark."""
    if message.get_content_type() == "multipart/report" and str(message.get_param("report-type")).lower() == "disposition-notification":
        return True
    marked = _header(message, "auto-submitted").strip().lower().startswith("auto-") or any(
        name in message for name in ("x-autoreply", "x-autorespond")
    )
    sender = parseaddr(_header(message, "from"))[1].partition("@")[0].lower()
    return marked and "x-failed-recipients" not in message and not sender.startswith(_DAEMONS)


def _parts(message: Message) -> Iterator[Message]:
    """A mail and its parts, but not those of a mail inside it: the one returned may be a report itself."""
    yield message
    if message.get_content_maintype() == "multipart" and message.is_multipart():
        for part in message.get_payload():
            if isinstance(part, Message):
                yield from _parts(part)


def _text(message: Message) -> str:
    """The first plain text, for people."""
    for part in _parts(message):
        if part.get_content_type() == "text/plain":
            payload = part.get_payload(decode=True)
            return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return ""


def _said_about(recipients: frozenset[str], text: str) -> str:
    """The paragraph that names a recipient, in one line."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        if any(address in paragraph.lower() for address in recipients):
            return _line(paragraph)
    return ""


def _recipient(value: str) -> str:
    """The address of "rfc822; alice@example.org", in lower case."""
    kind, _, address = value.partition(";")
    return (address or kind).strip().strip("<>").lower()


def _header(message: Message, name: str) -> str:
    """The first header of this name as it was written, with UTF-8 read (RFC 6532); empty if there is none."""
    for known, value in message.raw_items():
        if known.lower() == name:
            return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return ""


def _line(text: str) -> str:
    """A text in one line, without what no database or terminal likes."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
