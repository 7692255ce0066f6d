"""What other programs rely on in `portal demo`: its line of JSON, its files, its processes, and that it keeps to itself."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import WAIT_SECONDS

ROLES = ["subscriber", "colleague", "lapsed", "customer", "publisher", "product", "accounts", "admin"]
CHILDREN = {"demo-mailbox", "serve", "worker"}
PLAIN = {"PATH": "/usr/bin:/bin"}


class Started:
    """A demo of this test's own, and what it said once it answered."""

    def __init__(self, process: subprocess.Popen[str], data_dir: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.data_dir = data_dir
        self.line = process.stdout.readline()
        assert self.line, (data_dir / "log.txt").read_text()
        self.said: dict[str, Any] = json.loads(self.line)

    def processes(self) -> dict[int, str]:
        """What runs on this data directory: process id to command, the demo's own process left out."""
        return {pid: command for pid, command in processes_on(self.data_dir).items() if pid != self.process.pid}

    def process_id(self, command: str) -> int:
        """The process that the demo started for `command`: of web processes, the first one."""
        return min(pid for pid, name in self.processes().items() if name == command)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_SECONDS)


def processes_on(data_dir: Path) -> dict[int, str]:
    """Every live process whose environment says it belongs to a data directory, with the portal's command it runs."""
    found = {}
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            environment = (directory / "environ").read_bytes().split(b"\0")
            arguments = (directory / "cmdline").read_text().split("\0")
        except OSError:  # it has ended meanwhile, or is somebody else's
            continue
        if f"DATA_DIR={data_dir}".encode() in environment and "portal" in arguments:
            found[int(directory.name)] = arguments[arguments.index("portal") + 1]
    return found


def wait_until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def answer(url: str) -> int:
    """The status of a page, or 0 where nobody answers."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def command(data_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "portal", "demo", "--data", str(data_dir), *arguments]


@contextmanager
def started(data_dir: Path, *arguments: str, environment: dict[str, str] | None = None, cwd: Path | None = None) -> Iterator[Started]:
    data_dir.mkdir(parents=True, exist_ok=True)
    with (
        (data_dir / "log.txt").open("a") as log,
        subprocess.Popen(
            command(data_dir, "--json", *(arguments or ("--port", "0"))),
            env={**PLAIN, **(environment or {})},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Started(process, data_dir)
        finally:
            process.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """A demo that tests share which leave it running."""
    with started(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


def test_one_line_of_json_says_where_it_answers_and_who_can_sign_in(running: Started) -> None:
    said = running.said
    assert set(said) == {"url", "mailbox_url", "smtp_port", "accounts"}
    assert [account["role"] for account in said["accounts"]] == ROLES
    assert all(set(account) == {"role", "email", "password"} and len(account["password"]) >= 12 for account in said["accounts"])
    assert answer(f"{said['url']}/readyz") == 200
    assert answer(said["mailbox_url"]) == 200
    socket.create_connection(("127.0.0.1", said["smtp_port"]), timeout=5).close()
    assert said["url"].startswith("http://127.0.0.1:")


def test_its_files_with_secrets_are_for_their_owner_alone(running: Started) -> None:
    for name in ("demo.json", ".env"):
        assert stat.S_IMODE((running.data_dir / name).stat().st_mode) == 0o600, name


def test_the_mails_of_the_first_start_all_arrive(running: Started) -> None:
    def states() -> dict[str, int]:
        status = subprocess.run(
            [sys.executable, "-m", "portal", "notices", "status", "--json"],
            env={**PLAIN, "DATA_DIR": str(running.data_dir)}, capture_output=True, check=True,
        )  # fmt: skip
        return {state: count for state, count in json.loads(status.stdout)["states"].items() if count}

    # Two of the sample's people have said what a beta solves before the mail that asks them can go out.
    wait_until(lambda: set(states()) == {"sent", "skipped"} and states()["skipped"] == 2, "some mail of the sample was not sent")
    caught = list((running.data_dir / "mail").glob("*.eml"))
    assert len(caught) == states()["sent"]
    assert all(path.read_bytes().startswith(b"Message-ID:") or b"\nMessage-ID:" in path.read_bytes() for path in caught)


def test_there_is_a_release_of_each_state_to_look_at(running: Started) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "portal", "release", "list", "--json"],
        env={**PLAIN, "DATA_DIR": str(running.data_dir)}, capture_output=True, check=True,
    )  # fmt: skip
    found = {(release["channel"], release["state"]) for release in json.loads(listed.stdout)}
    assert found == {("stable", "published"), ("stable", "scheduled"), ("stable", "withdrawn"), ("beta", "published")}


def test_links_in_a_caught_mail_open_beside_it(running: Started, page: Page) -> None:
    wait_until(lambda: any(b"15.3b2: " in path.read_bytes() for path in (running.data_dir / "mail").glob("*.eml")), "no mail of the beta")
    page.goto(running.said["mailbox_url"])
    page.get_by_role("link", name="15.3b2").first.click()
    with page.expect_popup() as opened:
        page.frame_locator("iframe").get_by_role("link", name="unsubscribe").click()
    expect(opened.value.get_by_role("button", name="Unsubscribe")).to_be_visible()


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_a_killed_process_comes_back(running: Started, name: str) -> None:
    killed = running.process_id(name)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in running.processes() and name in running.processes().values(), f"{name} did not come back")
    wait_until(lambda: answer(f"{running.said['url']}/readyz") == 200, "the portal is not ready again")
    wait_until(lambda: answer(running.said["mailbox_url"]) == 200, "the mail catcher's pages do not answer")


def test_the_worker_comes_back_however_often_it_is_killed(running: Started) -> None:
    for _ in range(8):
        killed = running.process_id("worker")
        os.kill(killed, signal.SIGKILL)
        wait_until(
            lambda killed=killed: killed not in running.processes() and "worker" in running.processes().values(),  # type: ignore[misc]
            "the worker did not come back",
        )
    assert running.process.poll() is None


def test_a_second_demo_on_the_same_directory_is_refused(running: Started) -> None:
    before = (running.data_dir / ".env").read_text()
    refused = subprocess.run(command(running.data_dir, "--port", "0"), env=PLAIN, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "runs on" in refused.stderr
    assert (running.data_dir / ".env").read_text() == before


def test_a_busy_port_is_refused_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused = subprocess.run(command(tmp_path, "--port", str(port)), env=PLAIN, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr == f"Error: Port {port} is in use. Stop what listens there, or choose another one with --port.\n"
    assert processes_on(tmp_path) == {}


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = subprocess.run(command(tmp_path / "file" / "data"), env=PLAIN, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ending_it_leaves_no_process_and_the_next_start_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as first:
        assert set(first.processes().values()) == CHILDREN
        assert first.end(number) == 0
        assert first.processes() == {}
        key = next(line for line in (tmp_path / ".env").read_text().splitlines() if line.startswith("SECRET_KEY="))
        mails = len(list((tmp_path / "mail").glob("*.eml")))
    with started(tmp_path) as second:
        assert second.said == first.said
        assert key in (tmp_path / ".env").read_text().splitlines()
        assert len(list((tmp_path / "mail").glob("*.eml"))) >= mails


def test_killing_the_demo_itself_leaves_no_process(tmp_path: Path) -> None:
    with started(tmp_path) as demo:
        demo.end(signal.SIGKILL)
        wait_until(lambda: demo.processes() == {}, "processes of a killed demo live on")


def test_settings_of_the_surroundings_do_not_reach_it(tmp_path: Path) -> None:
    """Neither the environment's nor those of a .env file in the working directory, which is where production's lie."""
    hostile = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'real.db'}",
        "QUEUE_URL": f"sqlite:///{tmp_path / 'real-queue.db'}",
        "STORAGE_URL": f"file://{tmp_path / 'real-builds'}",
        "SMTP_URL": "smtp://127.0.0.1:9",
        "PUBLIC_URL": "https://portal.example.org",
        "MAIL_FROM": "real@example.org",
        "SECRET_KEY": "x" * 40,
        "WEB_PORT": "1",
        "PROXY_HOPS": "3",
        "http_proxy": "http://127.0.0.1:9",
    }
    surroundings, data_dir = tmp_path / "surroundings", tmp_path / "data"
    surroundings.mkdir()
    (surroundings / ".env").write_text("".join(f"{name}={value}\n" for name, value in hostile.items()))
    with started(data_dir, environment=hostile, cwd=surroundings) as demo:
        wait_until(lambda: list((data_dir / "mail").glob("*.eml")), "no mail reached the mail catcher")
        mail = next((data_dir / "mail").glob("*.eml")).read_bytes()
        assert b"real@example.org" not in mail
        listed = subprocess.run(
            [sys.executable, "-m", "portal", "contract", "list", "--json"],
            env={**PLAIN, "DATA_DIR": str(data_dir)}, cwd=surroundings, capture_output=True, check=True,
        )  # fmt: skip
        assert "NW-2041" in {contract["number"] for contract in json.loads(listed.stdout)}
        assert demo.said["url"].startswith("http://127.0.0.1:")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "surroundings"]
