"""Mail over SMTP (RFC 5321), on Flask-Mail's settings: many mails over a few connections, one recipient per mail.

What an answer means for a mail is decided in `smtp_replies`; how a connection is used, in `smtp_channel`.
"""

import contextlib
import logging
import select
import smtplib
import ssl
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from flask_mail import Connection, Mail

from portal.config import Settings
from portal.notices.mime import Letter
from portal.notices.models import DeliveryState
from portal.notices.smtp_channel import Channel, fits_envelope
from portal.notices.smtp_replies import NOT_BEGUN, Malformed, Replies, Reply, Result, words

__all__ = ["Letter", "Result", "Sender", "Unavailable", "deliverable_form", "flask_mail_config", "probe"]

log = logging.getLogger(__name__)

PROBE_SECONDS = 3
GOODBYE_SECONDS = 2
# A server that refused one connection more is not asked for it again so soon.
NO_MORE_SECONDS = 60


def flask_mail_config(settings: Settings) -> dict[str, object]:
    """Translate SMTP_URL into Flask-Mail's settings."""
    parts = urlsplit(settings.smtp_url)
    return {
        "MAIL_SERVER": parts.hostname or "localhost",
        "MAIL_PORT": parts.port or {"smtp": 25, "smtp+starttls": 587, "smtps": 465}[parts.scheme],
        "MAIL_USE_TLS": parts.scheme == "smtp+starttls",
        "MAIL_USE_SSL": parts.scheme == "smtps",
        "MAIL_USERNAME": unquote(parts.username) if parts.username else None,
        "MAIL_PASSWORD": unquote(parts.password) if parts.password else None,
        "MAIL_DEFAULT_SENDER": (settings.vendor_name, settings.mail_from),
    }


class Unavailable(Exception):
    """The mail server cannot be used at all now. The text says what it, or the network, answered."""


class _Host(smtplib.SMTP):
    """smtplib's client for greeting, TLS and log-in. A whole reply has to come within the timeout; smtplib would give each byte as long."""

    def getreply(self) -> tuple[int, bytes]:
        assert self.sock is not None
        deadline = monotonic() + self.timeout
        replies = Replies()
        try:
            while (reply := replies.next()) is None:
                self.sock.settimeout(max(deadline - monotonic(), 0.001))
                data = self.sock.recv(1024)
                if not data:
                    raise smtplib.SMTPServerDisconnected("Connection unexpectedly closed")
                replies.feed(data)
            if replies.has_more:
                # After STARTTLS this would be somebody else's text, taken for the server's own.
                raise smtplib.SMTPServerDisconnected("answered what nobody had asked")
            self.sock.settimeout(self.timeout)
        except Malformed as error:
            self.close()
            raise smtplib.SMTPServerDisconnected(str(error)) from error
        except BaseException:
            self.close()
            raise
        return reply.code, b"\n".join(line[4:].strip() for line in reply.raw.splitlines())


class _TLSHost(_Host, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class TimedConnection(Connection):
    """Flask-Mail's connection with what it leaves out: timeouts, and a check of the server's certificate."""

    def __init__(self, mail: Mail, timeout: float) -> None:
        super().__init__(mail)
        self.timeout = timeout
        self._context: ssl.SSLContext | None = None
        self._own_name: str | None = None

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        mail: Any = self.mail
        host: smtplib.SMTP | smtplib.SMTP_SSL
        # Both take long to find out, so they are kept for the next connection.
        if self._context is None and (mail.use_ssl or mail.use_tls):
            self._context = ssl.create_default_context()
        if mail.use_ssl:
            host = _TLSHost(mail.server, mail.port, self._own_name, timeout=self.timeout, context=self._context)
        else:
            host = _Host(mail.server, mail.port, self._own_name, timeout=self.timeout)
        self._own_name = host.local_hostname
        try:
            if mail.use_tls:
                host.starttls(context=self._context)
            if mail.username and mail.password:
                host.login(mail.username, mail.password)
            host.ehlo_or_helo_if_needed()
        except BaseException:
            host.close()
            raise
        return host

    def open(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        """Connect, and log in. Raises Unavailable."""
        try:
            return self.configure_host()
        except smtplib.SMTPResponseException as error:
            raise Unavailable(_line(error.smtp_code, error.smtp_error)) from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(words(error)) from error


class Sender:
    """Sends mails over up to `connections` connections, opened as there are mails for them and again when they were dropped.

    `timeout` is the time in seconds for each reply. Use as a context manager; leaving it says goodbye to the server.
    """

    def __init__(self, mail: Mail, *, timeout: float, connections: int) -> None:
        self._connection = TimedConnection(mail, timeout)
        self._timeout = timeout
        self._most = connections
        self._channels: list[Channel] = []
        self._no_more_until = 0.0
        self._again: deque[Letter] = deque()
        self._ahead: deque[Letter] = deque()
        self._begins: Callable[[Letter], bool] = lambda letter: True
        self._tried_again: set[int] = set()

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for channel in self._channels:
            channel.say_goodbye()
        deadline = monotonic() + GOODBYE_SECONDS
        for channel in self._channels:
            channel.close(deadline)
        self._channels.clear()

    def deliver(self, letters: Iterable[Letter], begin: Callable[[Letter], bool] = lambda letter: True) -> Generator[list[Result]]:
        """Send those of `letters` for which `begin` says yes, asked right before each. Yields what became of them: never an empty list.

        Every list is to be written down before the next is asked for: meanwhile nothing is sent, so that never more than
        `connections` mails are accepted and not written down. Letters are taken from the iterator, as many as there are connections,
        while the server is busy with those before; the envelope of each goes out when a connection is free for it, its body after the
        next list. Closing the generator drops those that are not sent yet.

        Raises Unavailable if no connection can be made at all. Then no letter without a result was sent.
        """
        source = iter(letters)
        self._begins = begin
        self._again.clear()
        self._ahead.clear()
        self._tried_again.clear()
        trouble: Exception | None = None
        try:
            while True:
                try:
                    self._hand_out(source)
                except Unavailable as error:
                    trouble = error
                busy = [channel for channel in self._channels if channel.is_busy]
                for channel in busy:
                    channel.write()
                if busy and trouble is None:
                    trouble = self._take_ahead(source)
                self._read(busy)
                results = self._collect()
                if results:
                    yield results
                if trouble is not None:
                    raise trouble
                if not (busy or results or self._again or self._ahead):
                    return
        finally:
            for channel in self._channels:
                channel.abandon()
            self._channels = [channel for channel in self._channels if channel.lost is None]

    def _hand_out(self, source: Iterator[Letter]) -> None:
        """Give each free connection a mail to begin, and open more as there are mails for them. Raises Unavailable."""
        if not self._channels:
            # One alone: a server that refuses us is not to be asked by all connections at once, least of all for a log-in.
            self._connect(self._take(source, 1))
        # What a dropped connection left goes over a new one: others may have been idle as long, and be as dead.
        self._connect(_first(self._again, self._room))
        for channel in self._channels:
            if channel.is_free:
                for letter in self._take(source, 1):
                    channel.begin(letter)
        self._connect(self._take(source, self._room))

    def _take(self, source: Iterator[Letter], most: int) -> list[Letter]:
        """Return mails to begin: those to be tried again, then those taken ahead, then new ones."""
        taken = _first(self._again, most)
        while len(taken) < most and (letter := self._ahead.popleft() if self._ahead else next(source, None)) is not None:
            if self._begins(letter):
                taken.append(letter)
        return taken

    def _take_ahead(self, source: Iterator[Letter]) -> Exception | None:
        """Let the next mails be made while the server is busy. What goes wrong is returned: its answers must be read first."""
        try:
            self._ahead.extend(islice(source, self._most - len(self._ahead)))
        except Exception as error:
            return error
        return None

    @property
    def _room(self) -> int:
        """How many connections more may be opened now."""
        return self._most - len(self._channels) if self._channels and monotonic() >= self._no_more_until else 0

    def _connect(self, letters: list[Letter]) -> None:
        """Open a connection for each of these mails, side by side. A mail that gets none waits for one of the others.

        Raises Unavailable if there are no others.
        """
        if not letters:
            return
        with ThreadPoolExecutor(len(letters)) as pool:
            opened = list(pool.map(lambda _: self._open(), letters))
        refusal: Unavailable | None = None
        for letter, channel in zip(letters, opened, strict=True):
            if isinstance(channel, Unavailable):
                refusal = channel
                self._again.append(letter)
            else:
                self._channels.append(channel)
                channel.begin(letter)
        if refusal is not None and not self._channels:
            raise refusal
        if refusal is not None:
            log.info("going on with %s connections, the mail server refused more: %s", len(self._channels), refusal)
            self._no_more_until = monotonic() + NO_MORE_SECONDS

    def _open(self) -> Channel | Unavailable:
        try:
            return Channel(self._connection.open(), self._timeout)
        except Unavailable as error:
            return error

    @staticmethod
    def _read(channels: list[Channel]) -> None:
        """Read until each channel has its replies or has been waited for long enough."""
        waiting = {channel.fileno: channel for channel in channels if channel.lost is None}
        poller = select.poll()
        for fileno in waiting:
            poller.register(fileno, select.POLLIN)
        while waiting:
            patience = min(channel.deadline for channel in waiting.values()) - monotonic()
            readable = poller.poll(max(patience, 0) * 1000)
            finished = [fileno for fileno, _ in readable if waiting[fileno].receive()]
            if patience <= 0:
                # Whatever lay ready has been read: this may be the first time anybody looked.
                late = [channel for fileno, channel in waiting.items() if fileno not in finished and channel.deadline <= monotonic()]
                for channel in late:
                    channel.give_up()
                finished += [channel.fileno for channel in late]
            for fileno in finished:
                poller.unregister(fileno)
                del waiting[fileno]

    def _collect(self) -> list[Result]:
        """Return the results of all channels; what a lost one left unsaid is tried once more."""
        results: list[Result] = []
        for channel in self._channels:
            results += channel.take_results()
            for letter in channel.unsaid:
                if letter.delivery_id in self._tried_again:
                    results.append(Result(letter.delivery_id, DeliveryState.DEFERRED, channel.lost, NOT_BEGUN))
                else:
                    self._tried_again.add(letter.delivery_id)
                    self._again.append(letter)
        self._channels = [channel for channel in self._channels if channel.lost is None]
        return results


def _first(waiting: deque[Letter], most: int) -> list[Letter]:
    return [waiting.popleft() for _ in range(min(most, len(waiting)))]


def deliverable_form(address: str) -> str | None:
    """Return `address` as it goes into an envelope: an international domain in its ASCII form (RFC 5890).

    A non-ASCII local part stays, for servers with SMTPUTF8. Returns None for what is no address.
    """
    if not fits_envelope(address):
        return None
    if address.isascii():
        return address
    try:
        checked = validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return None
    return checked.ascii_email or f"{checked.local_part}@{checked.ascii_domain}"


def probe(mail: Mail) -> None:
    """Raise Unavailable if the mail server cannot be connected to (and logged in to) within seconds."""
    host = TimedConnection(mail, PROBE_SECONDS).open()
    with contextlib.suppress(smtplib.SMTPException, OSError):
        host.quit()


def _line(code: int, text: bytes | str) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return Reply(code, b"%d %s" % (code, b" ".join(raw.split()))).line
