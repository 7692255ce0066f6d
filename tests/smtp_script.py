"""A mail server that follows a script: each connection plays one function, which says exactly what it reads and what it writes.

    def one_mail(talk: Conversation) -> None:
        talk.greet("PIPELINING")
        talk.envelope("ann@example.org")
        body = talk.hear_body()
        talk.say("250 accepted")
        talk.goodbye()

    with ScriptedServer(one_mail) as server:
        ... send to server.port ...

Leaving the block waits for the scripts. A script that heard something else, or was left waiting, fails the test there.
"""

import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from flask_mail import Mail

from portal.config import Settings
from portal.notices.mime import Letter
from portal.notices.smtp import Result, Sender, flask_mail_config

PATIENCE_SECONDS = 30
RETURN_PATH = "news@example.net"
MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


class HungUp(Exception):
    """The client closed the connection, where the script expected it to speak."""


class Conversation:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = b""
        self._unread = b""

    def say(self, *replies: str) -> None:
        """Send replies, all in one write."""
        self.send("".join(f"{reply}\r\n" for reply in replies).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def say_slowly(self, reply: str, seconds_per_byte: float) -> None:
        """Send a reply byte by byte. Stops when the client hangs up."""
        with contextlib.suppress(ConnectionError):
            for byte in f"{reply}\r\n".encode():
                time.sleep(seconds_per_byte)
                self.send(bytes([byte]))

    def hear(self) -> str:
        """Return the next line. Raises HungUp if there is none."""
        return self._hear_until(b"\r\n").decode()

    def expect(self, *beginnings: str) -> None:
        """Hear lines that begin so."""
        for beginning in beginnings:
            line = self.hear()
            assert line.startswith(beginning), f"expected {beginning!r}, heard {line!r}"

    def hear_body(self) -> bytes:
        """Hear a message up to the final dot, and return what came over the wire, dots doubled, without that dot."""
        if self._peek(3) == b".\r\n":
            self._unread = self._unread[3:]
            return b""
        return self._hear_until(b"\r\n.\r\n") + b"\r\n"

    def hear_some(self, count: int) -> None:
        """Read so many bytes at most, and keep them for later."""
        self._receive(count)

    def hear_hang_up(self) -> bytes:
        """Wait until the client closes the connection, and return what it said before."""
        with contextlib.suppress(HungUp):
            while True:
                self._receive()
        return self._unread

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Whether the client, for this long, says nothing that has not been heard."""
        self.socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return not self._unread
        finally:
            self.socket.settimeout(PATIENCE_SECONDS)
        return False

    def drop(self) -> None:
        """Break the connection off (RST), as a process does that is killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def greet(self, *extensions: str) -> None:
        """Be greeted, and offer these extensions."""
        self.say("220 script ESMTP")
        self.expect("ehlo ")
        lines = ["script", *extensions]
        self.say(*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    def envelope(self, address: str, mail: str = "250 ok", rcpt: str = "250 ok", data: str = "354 go on") -> None:
        """Hear a whole group before a word is said, then answer it in one write."""
        self.expect(f"MAIL FROM:<{RETURN_PATH}>", f"RCPT TO:<{address}>", "DATA")
        self.say(mail, rcpt, data)

    def goodbye(self) -> None:
        self.expect("QUIT")
        self.say("221 bye")

    def _hear_until(self, end: bytes) -> bytes:
        looked = 0
        while (found := self._unread.find(end, looked)) < 0:
            looked = max(len(self._unread) - len(end), 0)
            self._receive()
        heard, self._unread = self._unread[:found], self._unread[found + len(end) :]
        return heard

    def _peek(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._receive()
        return self._unread[:count]

    def _receive(self, count: int = 65_536) -> None:
        try:
            data = self.socket.recv(count)
        except ConnectionError:
            data = b""
        if not data:
            raise HungUp(f"the client hung up, after {self.heard[-200:]!r}")
        self.heard += data
        self._unread += data


Script = Callable[[Conversation], object]


class ScriptedServer:
    """Plays the first script with the first client to connect, the second with the second, and so on."""

    def __init__(self, *scripts: Script, play_all: bool = True, receive_buffer: int | None = None) -> None:
        self._scripts = iter(scripts)
        self._play_all = play_all
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self.conversations: list[Conversation] = []
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "ScriptedServer":
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        for failure in self._failures:
            raise failure
        if kind is None and self._play_all:
            assert next(self._scripts, None) is None, "a script was never played"

    def wait_for_hang_ups(self, count: int) -> None:
        """Wait until the first scripts have come to their end, and closed their connections."""
        for thread in self._threads[:count]:
            thread.join(PATIENCE_SECONDS)

    @property
    def heard(self) -> list[bytes]:
        """Everything each client said."""
        return [talk.heard for talk in self.conversations]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                talk = Conversation(self._listener.accept()[0])
                self.conversations.append(talk)
                thread = threading.Thread(target=self._play, args=(next(self._scripts, _unexpected), talk), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _play(self, script: Script, talk: Conversation) -> None:
        try:
            script(talk)
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            talk.socket.close()


def _unexpected(talk: Conversation) -> None:
    raise AssertionError("one connection more than there are scripts")


def mail_settings(url: str) -> Any:
    """Flask-Mail's settings for a server at this SMTP_URL."""
    return Mail().init_mail(flask_mail_config(Settings(smtp_url=url)))


def sender_to(server: ScriptedServer, *, connections: int = 1, timeout: float = PATIENCE_SECONDS) -> Sender:
    return Sender(mail_settings(f"smtp://127.0.0.1:{server.port}"), timeout=timeout, connections=connections)


def letters(*addresses: str, message: bytes = MESSAGE) -> Iterator[Letter]:
    """Mails to these addresses, numbered from 1."""
    for number, address in zip(itertools.count(1), addresses, strict=False):
        yield Letter(number, address, RETURN_PATH, message)


def deliver(server: ScriptedServer, *addresses: str, connections: int = 1, timeout: float = PATIENCE_SECONDS) -> dict[str, Result]:
    """Send a mail to each address, and return how each ended. Holds that each ended once."""
    with sender_to(server, connections=connections, timeout=timeout) as sender:
        results = [result for answered in sender.deliver(letters(*addresses)) for result in answered]
    assert sorted(result.delivery_id for result in results) == list(range(1, len(addresses) + 1))
    return {addresses[result.delivery_id - 1]: result for result in results}
