"""Runs the demo's processes as one group: all start, all end together, and one that dies is started again."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, fields
from pathlib import Path

from dotenv import dotenv_values

from portal.config import Settings
from portal.errors import PortalError

START_SECONDS = 90
STOP_SECONDS = 15
MOST_RESTARTS = 5
LOOPBACK = "127.0.0.1"


@dataclass
class Child:
    """One process of the group, and how often it had to be started again."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0


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
    """Choose the ports. Raises PortalError if the wanted web port is taken."""
    if web and not is_free(web):
        raise PortalError(f"Port {web} is in use. Stop what listens there, or choose another one with --port.")
    earlier = json.loads(state_file.read_text()).get("ports", {}) if state_file.exists() else {}
    return Ports(free_port(web), free_port(earlier.get("smtp", 0)), free_port(earlier.get("mailbox", 0)))


def write_environment(data_dir: Path, ports: Ports) -> None:
    """Write DATA_DIR/.env, which makes every command work on the running demo. A secret key made earlier is kept."""
    path = data_dir / ".env"
    earlier = written_environment(data_dir)
    values = {
        "SECRET_KEY": earlier.get("SECRET_KEY") or secrets.token_urlsafe(48),
        "PUBLIC_URL": ports.url,
        "WEB_PORT": str(ports.web),
        "SMTP_URL": f"smtp://{LOOPBACK}:{ports.smtp}",
        "VENDOR_NAME": "Northwind Automation",
        "PORTAL_NAME": "Macro Studio portal",
        "VENDOR_ADDRESS": "Northwind Automation, Example Street 1, 10115 Berlin, Germany",
        "SUPPORT_EMAIL": "support@northwind.example.org",
        "MAIL_FROM": "releases@northwind.example.org",
        "SIGN_IN_LIMIT": "600 per minute",
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f'{name}="{value}"\n' for name, value in values.items())


def written_environment(data_dir: Path) -> dict[str, str]:
    """Return what `write_environment` wrote."""
    return {name: value or "" for name, value in dotenv_values(data_dir / ".env").items()}


@dataclass
class Group:
    """The demo's processes."""

    data_dir: Path
    ports: Ports
    children: list[Child] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start mail catcher, web and worker, and wait until the portal says it is ready.

        Raises PortalError if it is not within START_SECONDS.
        """
        for name, arguments in (
            ("mailbox", ["demo-mailbox", "--smtp-port", str(self.ports.smtp), "--http-port", str(self.ports.mailbox)]),
            ("web", ["serve"]),
            ("worker", ["worker"]),
        ):
            child = Child(name, arguments)
            self.children.append(child)
            self._spawn(child)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.stopping.is_set():
                return
            if time.monotonic() > deadline:
                raise PortalError(f"The portal did not answer within {START_SECONDS} seconds. Look at the messages above.")
            self.keep_alive()
            time.sleep(0.2)

    def _spawn(self, child: Child) -> None:
        command = [sys.executable, "-m", "portal", *child.arguments]
        # No setting of the surroundings may reach the demo: it must not touch a real database or mail server.
        cleared = {setting.name.upper(): "" for setting in fields(Settings)}
        environment = {**os.environ, **cleared, **written_environment(self.data_dir), "DATA_DIR": str(self.data_dir)}
        # A session of its own: Ctrl-C in the terminal reaches this process alone, which then ends the others in order.
        child.process = subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True)  # noqa: S603

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.ports.url}/readyz", timeout=2) as answer:  # noqa: S310 - our own http address
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def keep_alive(self) -> None:
        """Start again what has died. Raises PortalError when something will not stay up."""
        for child in self.children:
            assert child.process is not None
            if child.process.poll() is None or self.stopping.is_set():
                continue
            child.restarts += 1
            if child.restarts > MOST_RESTARTS:
                raise PortalError(f"The {child.name} process keeps ending (exit code {child.process.returncode}).")
            self._spawn(child)

    def watch(self) -> None:
        """Keep the group alive until SIGTERM, SIGINT, or something will not stay up."""
        while not self.stopping.wait(0.5):
            self.keep_alive()

    def stop(self) -> None:
        """End all processes: politely first, then for good."""
        self.stopping.set()
        running = [child.process for child in self.children if child.process is not None and child.process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
