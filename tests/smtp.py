"""A real SMTP server for tests, on loopback: it keeps what it accepts, and refuses what it is told to."""

import asyncio
import email.policy
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Accepted:
    """One mail the server answered 250 to."""

    sender: str
    recipients: list[str]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = BytesParser(policy=email.policy.default).parsebytes(self.content)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class MailServer:
    """Accepts everything, but for the addresses in `answers` (at RCPT) and `data_answers` (after the message).

    `seconds_per_mail` makes it slow. `stop` and `start` take it down and up on the same port.
    """

    port: int = 0
    smtputf8: bool = True
    seconds_per_mail: float = 0
    answers: dict[str, str] = field(default_factory=dict)
    sender_answer: str | None = None
    data_answers: dict[str, str] = field(default_factory=dict)
    drop_at: set[str] = field(default_factory=set)
    on_mail: Callable[[str], None] | None = None
    accepted: list[Accepted] = field(default_factory=list)
    rcpt_counts: list[int] = field(default_factory=list)
    connections: int = 0
    _controller: Controller | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> "MailServer":
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        controller = Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=self.smtputf8, ready_timeout=10)
        controller.start()
        self._controller = controller
        return self

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def recipients(self) -> list[str]:
        """Every address a mail was accepted for, in the order of acceptance."""
        return [address for mail in list(self.accepted) for address in mail.recipients]

    def to(self, address: str) -> list[Accepted]:
        return [mail for mail in list(self.accepted) if address in mail.recipients]

    def wait_for(self, done: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until `done` says so. Raises AssertionError if it does not in time."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"after {seconds} s: {len(self.accepted)} mails"
            time.sleep(0.02)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.sender_answer is not None:
            return self.sender_answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        address = str(envelope.rcpt_tos[0])
        if self.on_mail is not None:
            self.on_mail(address)
        if self.seconds_per_mail:
            await asyncio.sleep(self.seconds_per_mail)
        if address in self.data_answers:
            return self.data_answers[address]
        if address in self.drop_at:
            transport: Any = server.transport
            transport.abort()
            return "421 gone"
        content = envelope.content
        assert isinstance(content, bytes)
        with self._lock:
            self.rcpt_counts.append(len(envelope.rcpt_tos))
            self.accepted.append(Accepted(str(envelope.mail_from), [str(one) for one in envelope.rcpt_tos], content))
        return "250 2.0.0 accepted"
