"""TLS with a checked certificate, and log-in, against a real server; and a probe of what it says."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from portal.notices.models import DeliveryState
from portal.notices.smtp import Sender, Unavailable, probe
from tests.smtp_script import MESSAGE, Conversation, ScriptedServer, letters, mail_settings

SENT = DeliveryState.SENT


@dataclass
class Mailbox:
    """A real server's memory: who logged in, over TLS or not, and the mails it took."""

    port: int
    log_ins: list[tuple[bytes, bytes]] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        assert server.transport.get_extra_info("ssl_object") is not None, "a mail in clear text"
        self.mails.append(envelope.content)
        return "250 2.0.0 accepted"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.log_ins.append((data.login, data.password))
        return AuthResult(success=data.password == b"p@ss word", handled=False)


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1, signed by itself."""

    path: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path, self.key)
        return context


def make_certificate(folder: Path, subject: str) -> Certificate:
    openssl = shutil.which("openssl")
    assert openssl is not None, "the tests need the openssl command (tests/install-system-packages)"
    certificate = Certificate(folder / f"{subject}.pem", folder / f"{subject}.key")
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test", "-addext", f"subjectAltName={subject}", "-out", certificate.path, "-keyout", certificate.key,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificate]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        name: make_certificate(folder, subject) for name, subject in (("right", "IP:127.0.0.1"), ("other name", "DNS:mail.example.org"))
    }


@pytest.fixture
def trusted(certificates: dict[str, Certificate], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both certificates are known to the machine, as if an authority had signed them."""
    bundle = tmp_path / "authorities.pem"
    bundle.write_text("".join(one.path.read_text() for one in certificates.values()))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))


@contextmanager
def serving(certificate: Certificate, *, at_once: bool = False) -> Iterator[Mailbox]:
    """A real server that takes mail over TLS only, and from whoever logs in: STARTTLS, or TLS from the first byte."""
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        mailbox = Mailbox(finder.getsockname()[1])
    tls: dict[str, Any] = (
        {"ssl_context": certificate.context} if at_once else {"tls_context": certificate.context, "require_starttls": True}
    )
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        authenticator=mailbox.authenticate,
        auth_required=True,
        auth_require_tls=not at_once,
        **tls,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def send(url: str) -> list[DeliveryState]:
    with Sender(mail_settings(url), timeout=20, connections=2) as sender:
        return [one.state for results in sender.deliver(letters("ann@example.org", "bob@example.org")) for one in results]


SCHEMES = pytest.mark.parametrize(("scheme", "at_once"), [("smtp+starttls", False), ("smtps", True)])


@SCHEMES
@pytest.mark.usefixtures("trusted")
def test_mail_goes_over_tls_after_a_log_in(certificates: dict[str, Certificate], scheme: str, at_once: bool) -> None:
    with serving(certificates["right"], at_once=at_once) as mailbox:
        assert send(f"{scheme}://portal:p%40ss%20word@127.0.0.1:{mailbox.port}") == [SENT, SENT]
    assert len(mailbox.mails) == 2
    assert set(mailbox.log_ins) == {(b"portal", b"p@ss word")}


@SCHEMES
def test_a_certificate_that_nobody_vouches_for_is_refused(certificates: dict[str, Certificate], scheme: str, at_once: bool) -> None:
    with serving(certificates["right"], at_once=at_once) as mailbox:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            send(f"{scheme}://portal:p%40ss%20word@127.0.0.1:{mailbox.port}")
        assert (mailbox.mails, mailbox.log_ins) == ([], [])


@SCHEMES
@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(certificates: dict[str, Certificate], scheme: str, at_once: bool) -> None:
    with serving(certificates["other name"], at_once=at_once) as mailbox:
        with pytest.raises(Unavailable, match="certificate verify failed"):
            send(f"{scheme}://portal:p%40ss%20word@127.0.0.1:{mailbox.port}")
        assert (mailbox.mails, mailbox.log_ins) == ([], [])


@pytest.mark.usefixtures("trusted")
def test_a_refused_log_in_makes_the_server_unavailable_and_tells_no_password(certificates: dict[str, Certificate]) -> None:
    with serving(certificates["right"]) as mailbox:
        with pytest.raises(Unavailable, match="535") as error:
            send(f"smtp+starttls://portal:wrong-secret@127.0.0.1:{mailbox.port}")
        assert "wrong-secret" not in str(error.value)
        assert mailbox.mails == []
        assert len(mailbox.log_ins) <= 2, "each way to log in once, over one connection, or the account may be locked"


@pytest.mark.usefixtures("trusted")
def test_groups_go_over_tls_and_answers_may_come_in_as_many_records(certificates: dict[str, Certificate]) -> None:
    def script(talk: Conversation) -> None:
        talk.socket = certificates["right"].context.wrap_socket(talk.socket, server_side=True)
        talk.greet("PIPELINING")
        talk.expect("MAIL", "RCPT TO:<ann@example.org>", "DATA")
        for reply in ("250 ok", "250 ok", "354 go on"):
            talk.say(reply)
        assert talk.hear_body() == big
        talk.expect("MAIL", "RCPT TO:<bob@example.org>", "DATA")
        for reply in ("250 accepted", "250 ok", "250 ok", "354 go on"):
            talk.say(reply)
        assert talk.hear_body() == big
        talk.say("250-" + "x" * 20_000, "250 accepted")
        talk.goodbye()

    big = MESSAGE + b"x" * 70 + b"\r\n" * 5_000
    with ScriptedServer(script) as server, Sender(mail_settings(f"smtps://127.0.0.1:{server.port}"), timeout=20, connections=1) as sender:
        run = sender.deliver(letters("ann@example.org", "bob@example.org", message=big))
        assert [one.state for results in run for one in results] == [SENT, SENT]


def test_a_server_without_starttls_gets_neither_log_in_nor_mail() -> None:
    def plain(talk: Conversation) -> None:
        talk.greet("PIPELINING", "AUTH PLAIN LOGIN")
        assert talk.hear_hang_up() == b""

    with ScriptedServer(plain) as server, pytest.raises(Unavailable, match="STARTTLS"):
        send(f"smtp+starttls://portal:secret@127.0.0.1:{server.port}")


def test_what_is_said_before_the_encryption_is_not_taken_for_the_servers_words() -> None:
    def inject(talk: Conversation) -> None:
        talk.greet("STARTTLS")
        talk.expect("STARTTLS")
        talk.say("220 go ahead", "250-injected", "250 AUTH PLAIN")
        assert talk.hear_hang_up() == b""

    with ScriptedServer(inject) as server, pytest.raises(Unavailable, match="nobody had asked"):
        send(f"smtp+starttls://portal:secret@127.0.0.1:{server.port}")


def test_a_probe_is_content_with_a_greeting_and_repeats_a_refusal() -> None:
    def greet(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.expect("quit")
        talk.say("221 bye")

    def refuse(talk: Conversation) -> None:
        talk.say("554-5.7.1 go away\r\n554 5.7.1 for good")

    with ScriptedServer(greet, refuse) as server:
        settings = mail_settings(f"smtp://127.0.0.1:{server.port}")
        probe(settings)
        with pytest.raises(Unavailable) as error:
            probe(settings)
    assert str(error.value) == "554 5.7.1 go away 5.7.1 for good"


def test_an_old_server_that_knows_no_ehlo_gets_its_mail_in_lock_step() -> None:
    def old(talk: Conversation) -> None:
        talk.say("220 old SMTP")
        talk.expect("ehlo")
        talk.say("502 what?")
        talk.expect("helo")
        talk.say("250 hello")
        for address in ("ann@example.org", "bob@example.org"):
            for command, answer in (("MAIL FROM:", "250 ok"), (f"RCPT TO:<{address}>", "250 ok"), ("DATA", "354 go on")):
                talk.expect(command)
                assert talk.is_silent(0.05)
                talk.say(answer)
            talk.hear_body()
            talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(old) as server, Sender(mail_settings(f"smtp://127.0.0.1:{server.port}"), timeout=20, connections=1) as sender:
        run = sender.deliver(letters("ann@example.org", "bob@example.org"))
        assert [one.state for results in run for one in results] == [SENT, SENT]
