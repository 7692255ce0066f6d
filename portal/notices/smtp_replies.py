"""What a mail server says (RFC 5321, 4.2), and what that means for one mail.

4xx, a dropped connection or silence: try again later. 5xx to the recipient or to the message: final. A refusal of ourselves
(greeting, log-in, sender) says nothing about the recipient, so it is never final; `Result.reason` is set then.
"""

import re
from typing import NamedTuple

from portal.notices.models import DeliveryState

LONGEST_REPLY = 32_768
LONGEST_LINE_KEPT = 500
CLOSING = 421
# Bad sequence of commands (RFC 5321, 4.2.3), log-in required (RFC 4954, 6): said to the recipient, and meant for us.
ABOUT_US = {503, 530}

SENDER_REFUSED = "mail server refused the sender"
WE_REFUSED = "mail server refused us"
IS_CLOSING = "mail server is closing"
MAY_HAVE_ARRIVED = "connection lost before the answer; it may have arrived"
NOT_BEGUN = "connection lost before the mail was sent"
SILENCE = "no answer within the time set by SMTP_TIMEOUT"

_REPLY = re.compile(rb"(?:[2-5][0-9]{2}-[^\n]*\n)*([2-5][0-9]{2})(?:[ \r][^\n]*)?\n")
_LINE = re.compile(rb"[2-5][0-9]{2}(?:[- \r]|$)")


class Malformed(Exception):
    """The server sent what is no reply. The text says what."""


class Reply(NamedTuple):
    """One reply, of one or more lines."""

    code: int
    raw: bytes

    @property
    def accepts(self) -> bool:
        return 200 <= self.code <= 299

    @property
    def line(self) -> str:
        """The reply as one printable line of at most 500 characters: the code once, then the words of all its lines."""
        first, *more = self.raw.decode("utf-8", "replace").rstrip().split("\n")
        words = " ".join([first[:3], first[4:], *(line[4:] for line in more)])
        return _one_line(words)


class Replies:
    """Cuts what a server sends into replies, in whatever pieces it arrives."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        self._data = self._data[self._at :] + data
        self._at = 0

    def next(self) -> Reply | None:
        """Return the next whole reply, or None as long as it is not all there.

        Raises Malformed for what cannot become a reply, or has no end.
        """
        found = _REPLY.match(self._data, self._at)
        if found is None:
            self._check_beginning()
            return None
        self._at = found.end()
        return Reply(int(found[1]), found[0])

    @property
    def has_more(self) -> bool:
        """Whether something arrived that `next` has not given out."""
        return self._at < len(self._data)

    def _check_beginning(self) -> None:
        rest = self._data[self._at :]
        if len(rest) > LONGEST_REPLY:
            raise Malformed("the mail server's answer has no end")
        for line in rest.split(b"\n")[:-1]:
            if not _LINE.match(line):
                raise Malformed(f"the mail server's answer is none of SMTP: {_one_line(line[:60].decode('utf-8', 'replace'))}")


class Result(NamedTuple):
    """What became of one mail: sent, deferred, bounced, or failed with a reason of our own.

    `reply` holds the mail server's words, or those of the network. A deferral with a `reason` is no answer about the recipient.
    `to_recipient` says that a refusal answered the address (RCPT), not the text.
    """

    delivery_id: int
    state: DeliveryState
    reply: str | None = None
    reason: str | None = None
    to_recipient: bool = False


def accepted(delivery_id: int, reply: Reply) -> Result:
    return Result(delivery_id, DeliveryState.SENT, reply.line)


def refused(delivery_id: int, reply: Reply) -> Result:
    """Return what it means that the recipient, or the message, was not accepted."""
    if reply.code == CLOSING:
        return Result(delivery_id, DeliveryState.DEFERRED, reply.line, IS_CLOSING)
    if reply.code in ABOUT_US:
        return Result(delivery_id, DeliveryState.DEFERRED, reply.line, WE_REFUSED)
    return Result(delivery_id, DeliveryState.BOUNCED if reply.code >= 500 else DeliveryState.DEFERRED, reply.line)


def words(error: BaseException) -> str:
    """What went wrong, for staff: the system's own words for a network error, without its number."""
    if isinstance(error, TimeoutError) and not error.strerror:
        return SILENCE
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _one_line(f"{type(error).__name__}: {error}")


def _one_line(text: str) -> str:
    """Return `text` as staff can read it: one line, at most 500 characters, a space for each that does not print."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = " ".join("".join(one if one.isprintable() else " " for one in line).split())
    return line[:LONGEST_LINE_KEPT]
