"""Downloads as customers do them: curl against real gunicorn, alone and behind nginx."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.downloads.conftest import CONTENT, DIGEST, FILENAME, SIZE, Server, entries, suspend, wait_until_complete


def take_until_cut(server: Server, file: Path, size: int) -> None:
    """Start a download and cut the connection after `size` bytes."""
    process = subprocess.Popen(server.command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    file.write_bytes(process.stdout.read(size))
    process.stdout.close()
    assert process.wait(timeout=60) != 0


def headers_of(output: bytes) -> tuple[int, dict[str, str]]:
    lines = output.decode(errors="replace").splitlines()
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), {name.lower(): value for name, value in fields.items()}


def test_a_whole_build_arrives_under_its_name_with_its_digest(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "got"
    folder.mkdir()
    assert server.curl("-O", "-J", cwd=folder).returncode == 0
    (file,) = folder.iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == DIGEST
    assert file.name == "studio x64 neu.msi", "curl reads the plain name of the two"


def test_a_broken_download_is_resumed_and_stays_one_entry(server: Server, tmp_path: Path) -> None:
    file = tmp_path / FILENAME
    take_until_cut(server, file, 5_000_000)
    assert server.curl("-C", "-", "-o", str(file)).returncode == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() == DIGEST
    (entry,) = entries(server)
    assert entry.ranges == [[0, SIZE - 1]]


def test_ten_parallel_ranges_are_one_entry(server: Server, tmp_path: Path) -> None:
    part = -(-SIZE // 10)
    names = [tmp_path / f"part{number}" for number in range(10)]
    commands = [
        server.command("-r", f"{number * part}-{min((number + 1) * part, SIZE) - 1}", "-o", str(name)) for number, name in enumerate(names)
    ]
    assert [process.wait(timeout=120) for process in [subprocess.Popen(command) for command in commands]] == [0] * 10
    assert hashlib.sha256(b"".join(name.read_bytes() for name in names)).hexdigest() == DIGEST
    (entry,) = entries(server)
    assert entry.ranges == [[0, SIZE - 1]]


def test_a_suspension_stops_the_next_request_in_the_middle(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "build"
    take_until_cut(server, file, 5_000_000)
    suspend(server)
    refused = server.curl("-C", "-", "-o", str(file))
    assert refused.returncode == 22
    assert file.read_bytes() == CONTENT[:5_000_000]
    reason = subprocess.run([word for word in server.command("-r", "5000000-") if word != "--fail"], capture_output=True, timeout=60)
    assert b"The contract is suspended." in reason.stdout


def test_a_head_describes_the_build(server: Server) -> None:
    status, fields = headers_of(server.curl("--head").stdout)
    assert status == 200
    assert fields["content-length"] == str(SIZE)
    assert fields["etag"] == f'"{DIGEST}"'
    assert fields["accept-ranges"] == "bytes"
    assert fields["cache-control"] == "private, no-store"
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["content-type"] == "application/octet-stream"
    assert fields["content-disposition"].endswith("filename*=UTF-8''studio%20x64%20%E2%80%9Cneu%E2%80%9D.msi")
    assert "last-modified" not in fields
    assert entries(server) == []


@pytest.mark.parametrize(
    ("arguments", "status", "length", "content_range"),
    [
        (["-r", "0-0"], 206, 1, f"bytes 0-0/{SIZE}"),
        (["-r", "-5"], 206, 5, f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}"),
        (["-r", "0-1,5-6"], 200, SIZE, None),
        (["-r", f"{SIZE}-"], 416, None, f"bytes */{SIZE}"),
        (["-r", "7-9", "-H", f'If-Range: "{DIGEST}"'], 206, 3, f"bytes 7-9/{SIZE}"),
        (["-r", "7-9", "-H", 'If-Range: "of another build"'], 200, SIZE, None),
        (["-r", "7-9", "-H", "If-Range: Tue, 24 Nov 2026 09:00:00 GMT"], 200, SIZE, None),
        (["-H", f'If-None-Match: "{DIGEST}"'], 304, None, None),
    ],
)
def test_ranges_and_conditions(server: Server, arguments: list[str], status: int, length: int | None, content_range: str | None) -> None:
    answer = server.curl("--no-fail", "-D", "-", "-o", "/dev/null", *arguments)
    found, fields = headers_of(answer.stdout)
    assert found == status
    assert fields.get("content-range") == content_range
    if length is not None:
        assert fields["content-length"] == str(length)


@pytest.mark.parametrize("wanted", ["5-2", ",".join(["0-0"] * 100)], ids=["backwards", "a hundred"])
def test_a_range_that_makes_no_sense_is_refused_with_a_reason_and_no_byte(server: Server, wanted: str) -> None:
    """RFC 9110, section 14.2, leaves the choice."""
    answer = server.curl("--no-fail", "-D", "-", "-r", wanted)
    status, fields = headers_of(answer.stdout)
    assert (status, fields["content-range"]) == (416, f"bytes */{SIZE}")
    assert b"This range cannot be sent" in answer.stdout
    assert entries(server) == []


def test_ten_thousand_ranges_are_refused_unread(server: Server) -> None:
    answer = server.curl("--no-fail", "-D", "-", "-H", "Range: bytes=" + "0-0," * 10_000)
    assert headers_of(answer.stdout)[0] in {400, 431}
    assert entries(server) == []


def test_the_store_cannot_be_reached_past_the_portal(behind_nginx: Server) -> None:
    for path in (f"/_builds/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}", "/_builds/", "/_builds/../portal.db"):
        command = ["curl", "--silent", "--path-as-is", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", behind_nginx.base + path]
        assert re.fullmatch(rb"40[04]", subprocess.run(command, capture_output=True, timeout=60).stdout)


def test_an_invalid_token_gets_401_and_no_byte(server: Server) -> None:
    answer = server.curl("--no-fail", "-D", "-", token="wrong")
    assert headers_of(answer.stdout)[0] == 401
    assert CONTENT[:16] not in answer.stdout


def test_the_portal_knows_when_it_has_sent_everything(direct: Server, tmp_path: Path) -> None:
    file = tmp_path / "build"
    take_until_cut(direct, file, 5_000_000)
    assert [entry.completed_at for entry in entries(direct)] == [None]
    assert direct.curl("-C", "-", "-o", str(file)).returncode == 0
    (entry,) = wait_until_complete(direct)
    assert entry.sent == [[0, SIZE - 1]]


def test_nginx_stops_a_large_form_and_lets_a_large_upload_come_to_the_portal(behind_nginx: Server, tmp_path: Path) -> None:
    """The portal sends a stranger who uploads to the sign-in page; a form of that size never reaches it."""
    large = tmp_path / "large.bin"
    large.write_bytes(b"a=" + b"x" * 2_200_000)
    found = []
    for path in ("/sign-in", "/staff/releases/new", "/staff/releases/macro-studio/15.3b2/builds"):
        command = [
            "curl",
            "--silent",
            "--noproxy",
            "*",
            "-H",
            "Expect:",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--data-binary",
            f"@{large}",
        ]
        found.append(subprocess.run([*command, behind_nginx.base + path], capture_output=True, text=True, check=False).stdout)
    assert found == ["413", "413", "302"]


def test_behind_nginx_nobody_knows_whether_it_arrived(behind_nginx: Server) -> None:
    assert behind_nginx.curl("-o", "/dev/null").returncode == 0
    (entry,) = entries(behind_nginx)
    assert (entry.ranges, entry.sent, entry.completed_at) == ([[0, SIZE - 1]], [], None)
