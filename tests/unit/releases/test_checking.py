"""Lines for the terminal do what they say, and nothing that a file name says."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from portal.products.models import Product, StableAccess
from portal.releases.checking import curl_resume, lines_for, minisign_checks, powershell_check, sha256sum_check
from portal.releases.models import Build, Channel, Release

NAMES = [
    "studio.msi", "it's here.msi", "$(touch pwned).msi", "`touch pwned`.msi", "a;touch pwned", "größe.msi", "--help.msi", "a,b @c.msi",
    "a’b.msi", "%PATH%.msi",
]  # fmt: skip


def sh(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("filename", NAMES)
def test_sha256sum_says_whether_the_file_is_ours(filename: str, tmp_path: Path) -> None:
    (tmp_path / filename).write_bytes(b"a build")
    line = sha256sum_check(filename, hashlib.sha256(b"a build").hexdigest())
    result = sh(line, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(": OK\n")
    (tmp_path / filename).write_bytes(b"another")
    assert sh(line, tmp_path).returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [filename]


@pytest.mark.parametrize("filename", NAMES)
def test_minisign_says_whether_we_signed_the_file(filename: str, tmp_path: Path) -> None:
    (tmp_path / filename).write_bytes(b"a build")
    subprocess.run(["minisign", "-G", "-W", "-p", "key.pub", "-s", "key.sec"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["minisign", "-S", "-W", "-s", "key.sec", "-m", filename], cwd=tmp_path, check=True, capture_output=True)
    public_key = (tmp_path / "key.pub").read_text().splitlines()[1]
    lines = dict(minisign_checks(filename, public_key))
    line = lines.get("minisign") or lines["minisign in sh"]
    result = sh(line, tmp_path)
    assert result.returncode == 0, result.stderr
    (tmp_path / filename).write_bytes(b"another")
    assert sh(line, tmp_path).returncode == 1
    assert {path.name for path in tmp_path.iterdir()} == {filename, f"{filename}.minisig", "key.pub", "key.sec"}


def test_one_line_is_for_all_shells_unless_the_name_holds_quotes() -> None:
    assert minisign_checks("a b.msi", "RWkey") == [("minisign", "minisign -Vm 'a b.msi' -P RWkey")]
    assert minisign_checks("it's.msi", "RWkey") == [
        ("minisign in PowerShell", "minisign -Vm 'it''s.msi' -P RWkey"),
        ("minisign in sh", "minisign -Vm 'it'\"'\"'s.msi' -P RWkey"),
    ]
    assert [title for title, _ in minisign_checks("a’b.msi", "RWkey")] == ["minisign in PowerShell", "minisign in sh"]


@pytest.mark.parametrize("filename", NAMES)
def test_the_shell_hands_curl_the_name_and_the_address_as_they_are(filename: str, tmp_path: Path) -> None:
    address = "https://portal.example.org/beta/x/15.3b2/download/y%20z"
    line = curl_resume(filename, address, with_token=True).replace("curl", "printf '%s\\n'", 1)
    assert sh(line, tmp_path).stdout.splitlines() == [
        "--fail", "-C", "-", "-o", filename, "-H", "Authorization: Bearer YOUR-TOKEN", address,
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_powershell_quotes_are_doubled() -> None:
    assert powershell_check("it's.msi", "ab") == "(Get-FileHash -LiteralPath 'it''s.msi' -Algorithm SHA256).Hash -eq 'ab'"
    assert "'a’’b.msi'" in powershell_check("a’b.msi", "ab")


@pytest.mark.parametrize(("signed", "has_key"), [(True, True), (False, True), (True, False)])
def test_minisign_is_offered_where_there_is_a_signature_and_a_key(signed: bool, has_key: bool, tmp_path: Path) -> None:
    (tmp_path / "a b.msi").write_bytes(b"a build")
    subprocess.run(["minisign", "-G", "-W", "-p", "key.pub", "-s", "key.sec"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["minisign", "-S", "-W", "-s", "key.sec", "-m", "a b.msi"], cwd=tmp_path, check=True, capture_output=True)
    key = (tmp_path / "key.pub").read_text().splitlines()[1] if has_key else None
    product = Product(slug="macro-studio", name="Macro Studio", signing_key=key, stable_access=StableAccess.CUSTOMERS)
    release = Release(product=product, version="15.2.1", channel=Channel.STABLE)
    build = Build(filename="a b.msi", sha256="ab" * 32, blake2b=hashlib.blake2b(b"a build").hexdigest())
    build.signature = (tmp_path / "a b.msi.minisig").read_text() if signed else None
    lines = lines_for(build, release, "https://portal.example.org")
    assert [line.title for line in lines] == ["PowerShell", "sha256sum", *(["minisign"] if signed and has_key else []), "curl"]
    assert lines[-1].text == (
        "curl --fail -C - -o 'a b.msi' -H \"Authorization: Bearer YOUR-TOKEN\" "
        "'https://portal.example.org/releases/macro-studio/15.2.1/download/a%20b.msi'"
    )


@pytest.mark.parametrize(
    ("channel", "access", "token"),
    [
        (Channel.BETA, StableAccess.PUBLIC, True),
        (Channel.STABLE, StableAccess.CUSTOMERS, True),
        (Channel.STABLE, StableAccess.PRIORITY, True),
        (Channel.STABLE, StableAccess.PUBLIC, False),
    ],
)
def test_curl_sends_a_token_where_one_is_needed(channel: Channel, access: StableAccess, token: bool) -> None:
    release = Release(product=Product(slug="macro-studio", stable_access=access), version="15.2.1", channel=channel)
    *_, curl = lines_for(Build(filename="a.msi", sha256="ab" * 32), release, "https://portal.example.org")
    assert ("YOUR-TOKEN" in curl.text) is token
