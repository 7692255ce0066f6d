"""What people download large files with: wget, and aria2c with ten connections; cut off, and resumed."""

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.downloads.conftest import DIGEST, SIZE, WAIT_SECONDS, Server, entries, suspend, wait_until_complete

SLOW = "8M"  # bytes a second: slow enough to be cut off in the middle
ENOUGH = 3_000_000


def wget(server: Server, *arguments: str) -> list[str]:
    header = f"--header=Authorization: Bearer {server.token}"
    return ["wget", "--no-config", "--no-proxy", "--quiet", header, "--output-document=build", *arguments, server.url]


def aria2c(server: Server, *arguments: str) -> list[str]:
    """Ten connections, for parts of at least 1 MB (as it comes, aria2c would not divide less than 40 MB)."""
    header = f"--header=Authorization: Bearer {server.token}"
    return [
        "aria2c", "--no-conf", "-x10", "-s10", "-k1M", "--file-allocation=none", "--quiet", header, "--out=build", *arguments, server.url,
    ]  # fmt: skip


def run(command: list[str], folder: Path) -> int:
    return subprocess.run(command, cwd=folder, env=surroundings(folder), capture_output=True, timeout=120, check=False).returncode


def run_and_cut(command: list[str], folder: Path, by: signal.Signals) -> None:
    """Start a client, and end it when a part of the file is there."""
    file = folder / "build"
    with subprocess.Popen(command, cwd=folder, env=surroundings(folder), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not file.exists() or file.stat().st_blocks * 512 < ENOUGH:
            assert process.poll() is None, "it ended before it was cut off"
            assert time.monotonic() < deadline, "it does not get on"
            time.sleep(0.02)
        process.send_signal(by)
        assert process.wait(30) != 0


def surroundings(folder: Path) -> dict[str, str]:
    """No proxy, and no settings of whoever runs the tests."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder)}


def assert_whole(folder: Path) -> None:
    assert hashlib.sha256((folder / "build").read_bytes()).hexdigest() == DIGEST


def wait_until_logged(server: Server, what: int | str) -> None:
    """The log is written when the client has its answer already; and of a download that was cut off, when that is noticed."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not any(what in line for line in server.asked()):
        assert time.monotonic() < deadline, server.asked()
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "got"
    folder.mkdir()
    return folder


def test_wget_goes_on_where_it_was_cut_off(server: Server, folder: Path) -> None:
    run_and_cut(wget(server, f"--limit-rate={SLOW}"), folder, signal.SIGKILL)
    had = (folder / "build").stat().st_size
    assert 0 < had < SIZE
    assert run(wget(server, "--continue"), folder) == 0
    assert_whole(folder)
    wait_until_logged(server, f"bytes={had}-")
    (entry,) = entries(server)
    assert entry.ranges == [[0, SIZE - 1]]


def test_wget_leaves_a_whole_file_as_it_is(server: Server, folder: Path) -> None:
    assert run(wget(server), folder) == 0
    assert run(wget(server, "--continue"), folder) == 0
    assert_whole(folder)
    assert len(entries(server)) == 1


def test_ten_connections_of_aria2c_are_one_download(server: Server, folder: Path) -> None:
    # Slowed down, or the first connection would have it all before the others begin.
    assert run(aria2c(server, f"--max-overall-download-limit={SLOW}"), folder) == 0
    assert_whole(folder)
    deadline = time.monotonic() + WAIT_SECONDS
    while len(server.asked()) < 10:
        assert time.monotonic() < deadline, server.asked()
        time.sleep(0.05)
    assert {status for status, _ in server.asked()} <= {200, 206}
    (entry,) = entries(server)
    assert entry.ranges == [[0, SIZE - 1]]


def test_aria2c_is_complete_when_the_portal_has_sent_everything(direct: Server, folder: Path) -> None:
    assert run(aria2c(direct, f"--max-overall-download-limit={SLOW}"), folder) == 0
    (entry,) = wait_until_complete(direct)
    assert entry.sent == [[0, SIZE - 1]]


def test_aria2c_goes_on_with_ten_connections_where_it_was_cut_off(server: Server, folder: Path) -> None:
    run_and_cut(aria2c(server, f"--max-overall-download-limit={SLOW}"), folder, signal.SIGINT)
    assert (folder / "build.aria2").exists(), "aria2c remembers what it has"
    assert run(aria2c(server, "--continue"), folder) == 0
    assert_whole(folder)
    (entry,) = entries(server)
    assert entry.ranges == [[0, SIZE - 1]]


@pytest.mark.parametrize(
    ("client", "slowly"),
    [(wget, f"--limit-rate={SLOW}"), (aria2c, f"--max-overall-download-limit={SLOW}")],
    ids=["wget", "aria2c"],
)
def test_after_a_suspension_no_client_can_go_on(server: Server, folder: Path, client: Callable[..., list[str]], slowly: str) -> None:
    run_and_cut(client(server, slowly), folder, signal.SIGTERM)
    suspend(server)
    had = (folder / "build").stat().st_blocks
    assert run(client(server, "--continue"), folder) != 0
    assert (folder / "build").stat().st_blocks <= had, "no byte came"
    wait_until_logged(server, 403)


def test_over_the_cap_a_download_is_put_off_and_pages_answer(portal_with_two_slots: Server, folder: Path) -> None:
    server = portal_with_two_slots
    slow = [subprocess.Popen(server.command("--limit-rate", "100k"), stdout=subprocess.DEVNULL) for _ in range(2)]
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not entries(server) or server.curl("--no-fail", "-r", "0-0", "-w", "%{http_code}").stdout[-3:] != b"503":
            assert time.monotonic() < deadline, "two downloads run, and a third one too"
            time.sleep(0.1)
        refused = server.curl("--no-fail", "-D", "-").stdout.decode()
        assert "Retry-After: 30" in refused
        assert "Many downloads are running.\nNothing is wrong with yours." in refused
        page = subprocess.run(["curl", "--silent", "--noproxy", "*", f"{server.base}/releases/"], capture_output=True, timeout=30)
        assert b"Macro Studio" in page.stdout
    finally:
        for process in slow:
            process.kill()
            process.wait()
    # Whoever is gone gives the slot back. curl itself waits and tries again, as it is told.
    assert server.curl("--retry", "3", "-o", str(folder / "build")).returncode == 0
    assert_whole(folder)
