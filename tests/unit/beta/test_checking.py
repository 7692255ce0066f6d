"""Lines for the terminal do what they say, and nothing that a file name says."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from portal.beta.checking import curl_resume, powershell_check, sha256sum_check

NAMES = ["studio.msi", "it's here.msi", "$(touch pwned).msi", "`touch pwned`.msi", "a;touch pwned", "größe.msi", "--help.msi"]


@pytest.mark.parametrize("filename", NAMES)
def test_sha256sum_says_whether_the_file_is_ours(filename: str, tmp_path: Path) -> None:
    (tmp_path / filename).write_bytes(b"a build")
    line = sha256sum_check(filename, hashlib.sha256(b"a build").hexdigest())
    result = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(": OK\n")
    (tmp_path / filename).write_bytes(b"another")
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True).returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [filename]


@pytest.mark.parametrize("filename", NAMES)
def test_the_shell_hands_curl_the_name_and_the_address_as_they_are(filename: str, tmp_path: Path) -> None:
    line = curl_resume(filename, "https://portal.example.org/beta/x/15.3b2/download/y%20z").replace("curl", "printf '%s\\n'", 1)
    result = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.splitlines() == [
        "--fail", "-C", "-", "-o", filename, "-H", "Authorization: Bearer YOUR-TOKEN",
        "https://portal.example.org/beta/x/15.3b2/download/y%20z",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_powershell_quotes_are_doubled() -> None:
    assert powershell_check("it's.msi", "ab").startswith("(Get-FileHash -LiteralPath 'it''s.msi' -Algorithm SHA256).Hash -eq")
    assert "'a’’b.msi'" in powershell_check("a’b.msi", "ab")
