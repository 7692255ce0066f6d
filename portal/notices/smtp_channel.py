"""One SMTP connection that sends mails, each to one recipient, in groups of commands where the server allows (RFC 2920).

The body of one mail and the envelope of the next go out in one write; without PIPELINING, each command waits for its reply.
A channel never waits itself: its owner calls `write`, waits until the socket can be read, and calls `receive` until that
says True. A lost connection is no error here. It says what became of each mail: `results` for those that were answered or may
have arrived, `unsaid` for those that nobody has heard of yet.
"""

import contextlib
import re
import smtplib
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic

from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp_replies import (
    CLOSING,
    MAY_HAVE_ARRIVED,
    NOT_BEGUN,
    SENDER_REFUSED,
    SILENCE,
    Malformed,
    Replies,
    Reply,
    Result,
    accepted,
    refused,
    words,
)

NO_ADDRESS = "not an address that mail can go to"
NO_RETURN_PATH = "the return path is no address"
NO_SMTPUTF8 = "mail server takes no such address (no SMTPUTF8)"
NO_8BITMIME = "mail server takes no 8-bit mail (no 8BITMIME)"
CLOSED = "the mail server closed the connection"
CONTRADICTION = "the mail server contradicts itself"
RECEIVE_BYTES = 16_384
START_MAIL_INPUT = 354

# Dot-atom or quoted local part, domain or address literal (RFC 5321, 4.1.2; RFC 6531, 3.3), and stricter: nothing that some
# server could take for the end of the address, for a second one, or for a route.
_MAILBOX = re.compile(r'(?:[^\s"(),:;<>@\[\\\]]+|"(?:[^\s"\\<>]|\\[^\s<>])+")@(?:[^\s"(),:;<>@\[\\\]]+|\[[^\s"<>@\[\\\]]+\])')
_LEADING_DOT = re.compile(rb"\n\.")

Taker = Callable[[Reply], None]


def fits_envelope(address: str) -> bool:
    """Whether `address` is one mailbox and nothing else: no line break, no space, no bracket, no second address."""
    return _MAILBOX.fullmatch(address) is not None and address.isprintable()


class Channel:
    """A connection that is logged in, and the mails under way on it: at most one is sent, at most one more begun."""

    def __init__(self, host: smtplib.SMTP, timeout: float) -> None:
        assert host.sock is not None
        self._socket = host.sock
        self._socket.settimeout(timeout)
        # A group is one write; the network need not wait for more of it (RFC 896).
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timeout = timeout
        self._pipelining = host.has_extn("pipelining")
        self._smtputf8 = host.has_extn("smtputf8")
        self._8bitmime = host.has_extn("8bitmime")
        self._replies = Replies()
        self._to_say: list[tuple[bytes, Taker]] = []
        self._asked: deque[Taker] = deque()
        self._begun: Letter | None = None  # its envelope is being said
        self._refusal: Result | None = None  # of the one begun, while other replies of the group are to come
        self._ready: Letter | None = None  # envelope accepted: its body is what will be said next
        self._sent: Letter | None = None  # body written, not answered
        self._needs_reset = False
        self._has_carried = False
        self.fileno = self._socket.fileno()
        self.deadline = 0.0
        self.lost: str | None = None
        self.results: list[Result] = []
        self.unsaid: list[Letter] = []

    @property
    def is_free(self) -> bool:
        """Whether it can begin another mail. In lock-step that would only wait behind the one that is ready."""
        return self._begun is None and (self._pipelining or self._ready is None)

    @property
    def is_busy(self) -> bool:
        return bool(self._to_say or self._asked)

    def begin(self, letter: Letter) -> None:
        """Take a mail: its envelope is said at the next `write`. One that cannot go to this server at all fails here."""
        unfit = self._unfit(letter)
        if unfit is not None:
            self.results.append(unfit)
            return
        if self._needs_reset:
            self._needs_reset = False
            self._to_say.append((b"RSET\r\n", self._ignore))
        _, address, return_path, message = letter
        parameters = "" if message.isascii() else " BODY=8BITMIME"
        if not (address.isascii() and return_path.isascii()):
            parameters += " SMTPUTF8"
        self._begun = letter
        self._to_say += (
            (f"MAIL FROM:<{return_path}>{parameters}\r\n".encode(), self._answered_mail),
            (f"RCPT TO:<{address}>\r\n".encode(), self._answered_rcpt),
            (b"DATA\r\n", self._answered_data),
        )

    def write(self) -> None:
        """Say what is to be said: all of it, or one command in lock-step. Bounded by the timeout."""
        if self._replies.has_more:
            return self._lose("the mail server answered what nobody had asked")
        group = self._to_say if self._pipelining else self._to_say[:1]
        self._to_say = self._to_say[len(group) :]
        self._asked.extend([taker for _, taker in group])
        if self._ready is not None:
            self._sent, self._ready = self._ready, None
        try:
            self._socket.sendall(b"".join([said for said, _ in group]))
        except OSError as error:
            self._lose(words(error), silent=isinstance(error, TimeoutError))
        self.deadline = monotonic() + self._timeout
        return None

    def receive(self) -> bool:
        """Take what the server has sent. True once all is answered or the connection lost, False while there is more to come."""
        expected = len(self._asked)
        try:
            data = self._socket.recv(RECEIVE_BYTES)
            if not data:
                self._lose(CLOSED)
            self._replies.feed(data)
            while self._asked and (reply := self._replies.next()) is not None:
                self._asked.popleft()(reply)
                if reply.code == CLOSING:
                    self._lose(reply.line)
        except OSError as error:
            self._lose(words(error))
        except Malformed as error:
            self._lose(str(error))
        if len(self._asked) < expected:
            self.deadline = monotonic() + self._timeout
        return not self._asked

    def give_up(self) -> None:
        """Let the connection go: the deadline has passed."""
        self._lose(SILENCE, silent=True)

    def take_results(self) -> list[Result]:
        results, self.results = self.results, []
        return results

    def abandon(self) -> None:
        """Close the connection if a mail is under way. After 354 that is the only way not to send it."""
        if self.is_busy:
            self._lose("abandoned")

    def say_goodbye(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(b"QUIT\r\n")

    def close(self, deadline: float) -> None:
        """Wait for the answer to QUIT until `deadline`, and close."""
        with contextlib.suppress(OSError):
            self._socket.settimeout(max(deadline - monotonic(), 0.001))
            self._socket.recv(RECEIVE_BYTES)
        self._socket.close()

    def _answered_mail(self, reply: Reply) -> None:
        # A server that ends a connection after so many mails says 421 here; the mail goes over the next one, and is not refused.
        if not reply.accepts and not (reply.code == CLOSING and self._has_carried):
            self._refuse(Result(self._letter.delivery_id, DeliveryState.DEFERRED, reply.line, SENDER_REFUSED))

    def _answered_rcpt(self, reply: Reply) -> None:
        if self._refusal is None:
            if not reply.accepts:
                self._refuse(refused(self._letter.delivery_id, reply)._replace(to_recipient=True))
        elif reply.accepts:
            # Sender refused, recipient accepted: a dot now might send an empty mail.
            self._lose(CONTRADICTION)

    def _answered_data(self, reply: Reply) -> None:
        letter = self._letter
        if reply.code == START_MAIL_INPUT and self._refusal is None:
            self._begun, self._ready = None, letter
            self._to_say.append((_body(letter.message), self._answered_body))
            return
        self._refuse(self._refusal or refused(letter.delivery_id, reply))
        if reply.code == START_MAIL_INPUT:
            self._to_say.append((b".\r\n", self._ignore))
        elif reply.code < 400:
            self._lose(CONTRADICTION)

    def _answered_body(self, reply: Reply) -> None:
        assert self._sent is not None
        self.results.append((accepted if reply.accepts else refused)(self._sent.delivery_id, reply))
        self._sent = None
        self._has_carried = True

    def _ignore(self, reply: Reply) -> None:
        """The answer to RSET, or to the dot of a mail without recipient."""

    @property
    def _letter(self) -> Letter:
        assert self._begun is not None
        return self._begun

    def _refuse(self, result: Result) -> None:
        """The mail that was begun will not be sent. What else was asked for it is answered first."""
        self._refusal = result
        if not self._asked:
            self.results.append(result)
            self._begun = self._refusal = None
            self._to_say.clear()
            self._needs_reset = True

    def _unfit(self, letter: Letter) -> Result | None:
        """Return how a mail ends that this server cannot take, or no server. Where it is our own address, it is tried again."""
        delivery_id, address, return_path, message = letter
        if not fits_envelope(address):
            return Result(delivery_id, DeliveryState.FAILED, None, NO_ADDRESS)
        if return_path and not fits_envelope(return_path):
            return Result(delivery_id, DeliveryState.DEFERRED, None, NO_RETURN_PATH)
        if not self._smtputf8 and not address.isascii():
            return Result(delivery_id, DeliveryState.FAILED, None, NO_SMTPUTF8)
        if not self._smtputf8 and not return_path.isascii():
            return Result(delivery_id, DeliveryState.DEFERRED, None, NO_SMTPUTF8)
        if not self._8bitmime and not message.isascii():
            return Result(delivery_id, DeliveryState.FAILED, None, NO_8BITMIME)
        return None

    def _lose(self, why: str, *, silent: bool = False) -> None:
        self.lost = why
        self._socket.close()
        if self._refusal is not None:
            self.results.append(self._refusal)
        elif self._begun is not None and silent and self._sent is None:
            self.results.append(Result(self._begun.delivery_id, DeliveryState.DEFERRED, why, NOT_BEGUN))
        elif self._begun is not None:
            self.unsaid.append(self._begun)
        if self._ready is not None:
            self.unsaid.append(self._ready)
        if self._sent is not None:
            self.results.append(Result(self._sent.delivery_id, DeliveryState.DEFERRED, why, MAY_HAVE_ARRIVED))
        self._begun = self._refusal = self._ready = self._sent = None
        self._asked.clear()
        self._to_say.clear()


def _body(message: bytes) -> bytes:
    """Return a mail as it goes over the wire: a dot before each dot that begins a line (RFC 5321, 4.5.2), and the dot at the end.

    A line here begins after any LF, so that a bare one cannot end the mail for a server that is lax about them.
    """
    # Searched first: most mails have none, and to search so is a quarter of the work.
    stuffed = message.replace(b"\n.", b"\n..") if _LEADING_DOT.search(message) else message
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n")
