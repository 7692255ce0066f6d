"""Runs the demo's processes as one group: all start, all end together, and one that dies is started again."""

import ctypes
import fcntl
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

from dotenv import dotenv_values

from portal.config import Settings
from portal.demo.private import write_private
from portal.errors import PortalError

START_SECONDS = 90
STOP_SECONDS = 15
# A process that ends by itself within STEADY_SECONDS, MOST_FAILURES times in a row, will not stay up.
STEADY_SECONDS = 10
MOST_FAILURES = 5
LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


@dataclass
class Child:
    """One process of the group, when it was started, and how often in a row it failed."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    failures: int = 0


@dataclass
class Ports:
    """Loopback ports of the demo. Those of an earlier start are kept where they are free."""

    web: int
    smtp: int
    mailbox: int

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.web}"

    @property
    def mailbox_url(self) -> str:
        return f"http://{LOOPBACK}:{self.mailbox}/"


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(wanted: int = 0) -> int:
    """Return `wanted` if nothing listens there, else some free port."""
    if wanted and is_free(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_ports(state_file: Path, web: int) -> Ports:
    """Choose the ports; 0 for the web port means any. Raises PortalError if the wanted web port is taken."""
    if web and not is_free(web):
        raise PortalError(f"Port {web} is in use. Stop what listens there, or choose another one with --port.")
    earlier = json.loads(state_file.read_text()).get("ports", {}) if state_file.exists() else {}
    return Ports(web or free_port(earlier.get("web", 0)), free_port(earlier.get("smtp", 0)), free_port(earlier.get("mailbox", 0)))


# Where the demo's own parts are. Decided at each start, whatever its file says: it must not touch a real database or mail server.
PLACES = ("DATABASE_URL", "QUEUE_URL", "STORAGE_URL", "RATE_LIMIT_URL", "SMTP_URL", "PUBLIC_URL", "WEB_HOST", "WEB_PORT")


def write_environment(data_dir: Path, ports: Ports) -> None:
    """Write DATA_DIR/.env, which makes every command work on the running demo.

    What was set there before is kept, by an earlier start (the secret key) or by hand, apart from PLACES. It names every
    setting: what is empty means the default, so that nothing of the surroundings reaches the demo.
    """
    earlier = written_environment(data_dir)
    values = {setting.name.upper(): "" for setting in fields(Settings) if setting.name != "data_dir"}
    values |= {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "PUBLIC_URL": ports.url,
        "WEB_PORT": str(ports.web),
        "SMTP_URL": f"smtp://{LOOPBACK}:{ports.smtp}",
        "VENDOR_NAME": "Northwind Automation",
        "PORTAL_NAME": "Macro Studio portal",
        "VENDOR_ADDRESS": "Northwind Automation, Example Street 1, 10115 Berlin, Germany",
        "SUPPORT_EMAIL": "support@northwind.example.org",
        "MAIL_FROM": "releases@northwind.example.org",
        "MAIL_RETURN_PATH": "bounces@northwind.example.org",
        "SIGN_IN_LIMIT": "600 per minute",
    }
    values |= {name: value for name, value in earlier.items() if value and name in values and name not in PLACES}
    write_private(data_dir / ".env", "".join(f'{name}="{_escape(value)}"\n' for name, value in values.items()))


def _escape(value: str) -> str:
    """Write a value as it stands between double quotes in a `.env` file."""
    return value.replace("\\", "\\\\").replace('"', '\\"')


def written_environment(data_dir: Path) -> dict[str, str]:
    """Return what `write_environment` wrote."""
    return {name: value or "" for name, value in dotenv_values(data_dir / ".env").items()}


@contextmanager
def only_demo(data_dir: Path) -> Iterator[None]:
    """Hold the directory for this process. Raises PortalError if another demo runs on it."""
    with (data_dir / "demo.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PortalError(f"A demo runs on {data_dir} already. End it, or choose another directory with --data.") from None
        yield


@dataclass
class Group:
    """The demo's processes."""

    data_dir: Path
    ports: Ports
    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the mail catcher, then web and worker, and wait until the portal says it is ready.

        Raises PortalError if it is not within START_SECONDS.
        """
        # The worker begins with the sample's mails, and those that wait too long for a mail server are given up.
        self._add("mailbox", "demo-mailbox", "--smtp-port", str(self.ports.smtp), "--http-port", str(self.ports.mailbox))
        self._wait_for(self._mailbox_answers)
        self._add("web", "serve")
        self._add("worker", "worker")
        self._wait_for(self._ready)

    def _add(self, name: str, *arguments: str) -> None:
        if not self.stopping.is_set():
            child = Child(name, list(arguments))
            self.children.append(child)
            self._spawn(child)

    def _wait_for(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.stopping.is_set() and not answers():
            if time.monotonic() > deadline:
                raise PortalError(f"The portal did not answer within {START_SECONDS} seconds. Look at the messages above.")
            self.keep_alive()
            time.sleep(0.1)

    def _spawn(self, child: Child) -> None:
        command = [sys.executable, "-m", "portal", *child.arguments]
        environment = {**os.environ, **written_environment(self.data_dir), "DATA_DIR": str(self.data_dir)}
        child.started = time.monotonic()
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which then ends the others in order.
        child.process = subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment, stdout=sys.stderr, start_new_session=True,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - this process has no threads
        )  # fmt: skip

    def _mailbox_answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.ports.smtp), timeout=2).close()
        except OSError:
            return False
        return True

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.ports.web, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def keep_alive(self) -> None:
        """Start again what has died. Raises PortalError when something will not stay up."""
        for child in self.children:
            assert child.process is not None
            if self.stopping.is_set() or (code := child.process.poll()) is None:
                continue
            failed_at_once = code >= 0 and time.monotonic() - child.started < STEADY_SECONDS
            child.failures = child.failures + 1 if failed_at_once else 0
            if child.failures > MOST_FAILURES:
                raise PortalError(f"The {child.name} process keeps ending (exit code {code}). Look at the messages above.")
            _kill_group(child.process)
            self._spawn(child)

    def watch(self) -> None:
        """Keep the group alive until SIGTERM, SIGINT, or something will not stay up."""
        while not self.stopping.wait(0.5):
            self.keep_alive()

    def stop(self) -> None:
        """End all processes: politely first, then for good."""
        self.stopping.set()
        processes = [child.process for child in self.children if child.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _kill_group(process)
            process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of those it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """In a new process, before its program begins: have the kernel end it when the demo is killed and can end nothing itself."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
