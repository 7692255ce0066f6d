"""Mail over SMTP (RFC 5321), on Flask-Mail's settings: one connection for many mails, one recipient per mail.

What an answer means is decided here. 4xx, a dropped connection or silence: try again later. 5xx to the recipient or to the
message: final. A refusal of ourselves (greeting, log-in, sender) says nothing about the recipient, so it is never final.
"""

import smtplib
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from flask_mail import Connection, Mail

from portal.config import Settings
from portal.notices.models import DeliveryState

PROBE_SECONDS = 3
CLOSING = 421


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


class TimedConnection(Connection):
    """Flask-Mail's connection with what it leaves out: timeouts, and a check of the server's certificate."""

    def __init__(self, mail: Mail, timeout: float) -> None:
        super().__init__(mail)
        self.timeout = timeout

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        mail: Any = self.mail
        host: smtplib.SMTP | smtplib.SMTP_SSL
        if mail.use_ssl:
            host = smtplib.SMTP_SSL(mail.server, mail.port, timeout=self.timeout, context=ssl.create_default_context())
        else:
            host = smtplib.SMTP(mail.server, mail.port, timeout=self.timeout)
        try:
            if mail.use_tls:
                host.starttls(context=ssl.create_default_context())
            if mail.username and mail.password:
                host.login(mail.username, mail.password)
            host.ehlo_or_helo_if_needed()
        except BaseException:
            host.close()
            raise
        return host


@dataclass(frozen=True)
class Answer:
    """What became of one mail: sent, deferred, bounced, or failed with a reason of our own."""

    state: DeliveryState
    reply: str | None = None
    reason: str | None = None


class Sender:
    """Sends mails one after another over one connection, opened at the first and again whenever it was dropped.

    Use as a context manager; leaving it says goodbye to the server.
    """

    def __init__(self, mail: Mail, *, envelope_from: str, timeout: float) -> None:
        self._connection = TimedConnection(mail, timeout)
        self._envelope_from = envelope_from
        self._host: smtplib.SMTP | None = None

    def __enter__(self) -> "Sender":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._host is not None:
            try:
                self._host.quit()
            except (smtplib.SMTPException, OSError):
                self._drop()
            self._host = None

    def connect(self) -> None:
        """Open the connection if there is none. Raises Unavailable."""
        if self._host is None:
            try:
                self._host = self._connection.configure_host()
            except smtplib.SMTPResponseException as error:
                raise Unavailable(_reply(error.smtp_code, error.smtp_error)) from error
            except (smtplib.SMTPException, OSError) as error:
                raise Unavailable(_words(error)) from error

    def send(self, address: str, message: bytes) -> Answer:
        """Send `message` (CRLF line ends) to `address` alone.

        Raises Unavailable if no connection can be made; then nothing was sent.
        """
        self.connect()
        try:
            return self._attempt(address, message)
        except _DroppedBefore:
            # An idle connection the server had closed: nothing was said on it yet, so one new try is safe.
            self._drop()
            self.connect()
        try:
            return self._attempt(address, message)
        except _DroppedBefore as error:
            self._drop()
            return Answer(DeliveryState.DEFERRED, str(error))

    def _attempt(self, address: str, message: bytes) -> Answer:
        host = self._host
        assert host is not None
        options = ["SMTPUTF8", "BODY=8BITMIME"] if not address.isascii() else []
        if options and not host.has_extn("smtputf8"):
            return Answer(DeliveryState.FAILED, reason="mail server takes no such address (no SMTPUTF8)")
        try:
            code, text = host.mail(self._envelope_from, options)
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise _DroppedBefore(_words(error)) from error
        try:
            if code != 250:
                return self._refused(code, text, final=False)
            code, text = host.rcpt(address)
            if code not in {250, 251}:
                return self._refused(code, text, final=True)
            code, text = host.data(message)
        except smtplib.SMTPDataError as error:
            return self._refused(error.smtp_code, error.smtp_error, final=True)
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            return Answer(DeliveryState.DEFERRED, _words(error))
        return Answer(DeliveryState.SENT, _reply(code, text)) if code == 250 else self._refused(code, text, final=True)

    def _refused(self, code: int, text: bytes | str, *, final: bool) -> Answer:
        self._reset(code)
        bounced = final and 500 <= code <= 599
        return Answer(DeliveryState.BOUNCED if bounced else DeliveryState.DEFERRED, _reply(code, text))

    def _reset(self, code: int) -> None:
        """Make the connection ready for the next mail, or let it go."""
        assert self._host is not None
        if code in {CLOSING, -1}:
            self._drop()
            return
        try:
            self._host.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()

    def _drop(self) -> None:
        if self._host is not None:
            self._host.close()
            self._host = None


class _DroppedBefore(Exception):
    """The connection was gone before this mail was begun."""


def deliverable_form(address: str) -> str | None:
    """Return `address` as it goes into an envelope: an international domain in its ASCII form (RFC 5890).

    A non-ASCII local part stays, for servers with SMTPUTF8. Returns None for what is no address.
    """
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isprintable() or set(address) & set(" <>"):
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
    with Sender(mail, envelope_from="", timeout=PROBE_SECONDS) as sender:
        sender.connect()


def _reply(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(f"{code} {words}".split())


def _words(error: BaseException) -> str:
    """What went wrong, for staff: the system's own words for a network error, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(f"{type(error).__name__}: {error}".split())
