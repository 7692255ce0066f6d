"""Signatures: we and the program minisign say the same of them."""

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import signatures
from portal.errors import Conflict, Invalid
from tests.signing import Signer, new_signer, run

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
CONTENT = b"MZ, and then some" * 5_000


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return new_signer(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "studio.msi"
    path.write_bytes(CONTENT)
    return path


def we_accept(file: Path, key: str) -> bool:
    try:
        signatures.verify(
            signatures.clean_signature(file.with_name(f"{file.name}.minisig").read_bytes()),
            key,
            hashlib.blake2b(file.read_bytes()).hexdigest(),
            file.name,
        )
    except Invalid as error:
        return error.field != "signature"
    return True


def test_what_minisign_signs_we_accept(file: Path, signer: Signer) -> None:
    signer.sign(file, "-t", "Größe und Zeit: 15.3", "-c", "anything")
    assert signer.accepts(file)
    assert we_accept(file, signer.key)


def test_a_signature_is_kept_so_that_minisign_accepts_it(file: Path, signer: Signer) -> None:
    signature = signer.sign(file)
    signature.write_text(signatures.clean_signature(signature.read_bytes().replace(b"\n", b"\r\n")))
    assert signer.accepts(file)
    assert b"\r" not in signature.read_bytes()


def test_another_key_is_refused_by_both(file: Path, signer: Signer, tmp_path: Path) -> None:
    signer.sign(file)
    other = new_signer(tmp_path, "other")
    assert not other.accepts(file)
    assert not we_accept(file, other.key)


def test_another_key_with_the_same_number_is_refused_by_both(file: Path, signer: Signer, tmp_path: Path) -> None:
    signer.sign(file)
    other = new_signer(tmp_path, "other")
    mixed = base64.b64decode(signer.key)[:10] + base64.b64decode(other.key)[10:]
    forged = Signer(other.secret, tmp_path / "mixed.pub")
    forged.public.write_text(f"untrusted comment: x\n{base64.b64encode(mixed).decode()}\n")
    assert not forged.accepts(file)
    assert not we_accept(file, forged.key)


def test_a_changed_file_is_refused_by_both(file: Path, signer: Signer) -> None:
    signer.sign(file)
    file.write_bytes(CONTENT + b"x")
    assert not signer.accepts(file)
    assert not we_accept(file, signer.key)


@pytest.mark.parametrize(("line", "accepted"), [(0, True), (1, False), (2, False), (3, False)])
def test_a_change_in_any_line_but_the_first_is_refused_by_both(file: Path, signer: Signer, line: int, accepted: bool) -> None:
    signature = signer.sign(file, "-t", "the fifteenth")
    lines = signature.read_text().splitlines()
    at = -6 if line % 2 else -1
    lines[line] = lines[line][:at] + ("A" if lines[line][at] != "A" else "B") + lines[line][at:][1:]
    signature.write_text("\n".join(lines) + "\n")
    assert signer.accepts(file) is accepted
    assert we_accept(file, signer.key) is accepted


def test_the_signature_of_another_file_is_refused_by_both(file: Path, signer: Signer, tmp_path: Path) -> None:
    other = tmp_path / "other.msi"
    other.write_bytes(b"other bytes")
    signer.sign(other).rename(file.with_name("studio.msi.minisig"))
    assert not signer.accepts(file)
    assert not we_accept(file, signer.key)


def test_the_old_kind_is_refused_with_the_way_out_as_by_a_strict_minisign(file: Path, signer: Signer) -> None:
    signature = signer.sign(file, "-l")
    assert not signer.accepts(file, "-H")
    with pytest.raises(Invalid, match=r"old kind.*minisign -SH"):
        signatures.clean_signature(signature.read_bytes())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n\n",
        b"untrusted comment: x\nRUQ=\ntrusted comment: y\nAAAA\n",
        b"untrusted comment: \xff\nRUQ=\ntrusted comment: y\nAAAA\n",
        b"untrusted comment: x\n" * 4,
        b"x" * 20_000,
        bytes(range(256)),
    ],
)
def test_what_is_no_signature_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="no signature of minisign") as refusal:
        signatures.clean_signature(data)
    assert refusal.value.field == "signature"


@given(st.binary(max_size=400))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(Invalid):
        signatures.clean_signature(data)


def test_a_comment_cannot_smuggle_in_lines_or_controls(file: Path, signer: Signer) -> None:
    signature = signer.sign(file).read_bytes()
    with pytest.raises(Invalid):
        signatures.clean_signature(signature.replace(b"untrusted comment: ", b"untrusted comment: \x1b[2J\x00"))


def test_a_key_is_taken_as_a_line_and_as_a_file(signer: Signer) -> None:
    text = signer.public.read_text()
    assert signatures.clean_public_key(text) == signatures.clean_public_key(f"  {signer.key}\r\n") == signer.key


@pytest.mark.parametrize("text", ["RW", "not base64", "A" * 56, "untrusted comment: x", "x" * 5_000, "RWQ\x00", "a\nb\nc"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no public key") as refusal:
        signatures.clean_public_key(text)
    assert refusal.value.field == "signing_key"


def test_a_secret_key_is_refused_with_a_warning(signer: Signer) -> None:
    with pytest.raises(Invalid, match="secret key"):
        signatures.clean_public_key(signer.secret.read_text())
    with pytest.raises(Invalid):
        signatures.clean_public_key(signer.secret.read_text().splitlines()[1])


@pytest.mark.parametrize("password", ["", "correct horse"])
def test_minisign_accepts_what_we_sign(file: Path, tmp_path: Path, password: str) -> None:
    signer = new_signer(tmp_path, "server", password)
    (tmp_path / "password").write_text(f"{password}\n")
    with file.open("rb") as source:
        text = signatures.sign(
            source, file.name, key_file=str(signer.secret), password_file=str(tmp_path / "password") if password else "", now=NOW
        )  # fmt: skip
    file.with_name("studio.msi.minisig").write_text(text)
    assert "trusted comment: timestamp:1795510800\tfile:studio.msi\thashed" in text
    assert signer.accepts(file, "-H")
    assert we_accept(file, signer.key)


def test_a_name_that_is_not_ascii_is_left_out_of_the_comment(file: Path, signer: Signer) -> None:
    with file.open("rb") as source:
        assert "file:" not in signatures.sign(source, "Größe.msi", key_file=str(signer.secret), password_file="", now=NOW)


def test_why_there_is_no_key_to_sign_with_is_said_and_nothing_of_it(file: Path, tmp_path: Path) -> None:
    locked = new_signer(tmp_path, "locked", "right")
    (tmp_path / "wrong").write_text("wrong")
    for key_file, password_file, reason in [
        ("", "", "MINISIGN_SECRET_KEY_FILE"),
        (str(tmp_path / "none.key"), "", "none.key cannot be read"),
        (str(file), "", "no secret key"),
        (str(locked.public), "", "no secret key"),
        (str(locked.secret), "", "MINISIGN_PASSWORD_FILE"),
        (str(locked.secret), str(tmp_path / "none"), "none cannot be read"),
        (str(locked.secret), str(tmp_path / "wrong"), "does not open the key"),
    ]:
        with file.open("rb") as source, pytest.raises(Conflict, match=reason):
            signatures.sign(source, file.name, key_file=key_file, password_file=password_file, now=NOW)


def test_the_tests_run_the_program_itself() -> None:
    run("-v")
