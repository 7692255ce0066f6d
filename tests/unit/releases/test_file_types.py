"""What a file begins with must fit its name."""

import hashlib
import io
import struct
import zipfile

import pytest

from portal.errors import Invalid
from portal.releases.file_types import HEAD_BYTES, Inspection, check_type


def program(pe_at: int = 0x80) -> bytes:
    """The start of a program for Windows, its header at `pe_at`."""
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", pe_at) + b"\0" * (pe_at - 0x40) + b"PE\0\0" + b"code" * 100


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name in names:
            written.writestr(name, "text")
    return content.getvalue()


MSI = bytes.fromhex("D0CF11E0A1B11AE1") + b"\0" * 504
PAGE = b"<!doctype html><title>404 Not Found</title>"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("setup.exe", program()),
        ("SETUP.EXE", program(0x2000)),
        ("studio.msi", MSI),
        ("studio.zip", archive("a.txt")),
        ("empty.zip", archive()),
        ("first-of-several.zip", b"PK\x07\x08PK\x03\x04"),
        ("manual.pdf", b"%PDF-1.7\n"),
        ("manual.pdf", b"\xef\xbb\xbf%PDF-1.7\n"),
        ("studio.dmg", PAGE),
        ("studio.tar.gz", PAGE),
        ("zip", PAGE),
        ("README", b""),
    ],
)
def test_a_file_that_is_what_its_name_says_is_taken(name: str, content: bytes) -> None:
    check_type(name, content[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("setup.exe", PAGE),
        ("setup.exe", b"MZ"),
        ("setup.exe", b"MZ" + b"\0" * 200),
        ("setup.exe", b"MZ".ljust(0x3C, b"\0") + b"\xff\xff\xff\x7f" + b"\0" * 100),
        ("setup.exe", MSI),
        ("studio.msi", program()),
        ("studio.msi", archive("a.txt")),
        ("studio.MSI", PAGE),
        ("studio.zip", MSI),
        ("studio.zip", b"PK"),
        ("studio.zip", b"Rar!\x1a\x07"),
        ("manual.pdf", PAGE),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(Invalid, match=f"{name} is no {name[-3:].lower()} file") as refusal:
        check_type(name, content[:HEAD_BYTES])
    assert refusal.value.field == "file"


@pytest.mark.parametrize("size", [1, 7, 1000, HEAD_BYTES, HEAD_BYTES + 1])
def test_bytes_are_looked_at_as_they_pass_in_whatever_pieces(size: int) -> None:
    content = (program() + b"x" * 200_000)[: HEAD_BYTES * 2 if size > 1 else 2_000]
    inspection = Inspection("setup.exe")
    for first in range(0, len(content), size):
        inspection.see(content[first : first + size])
    assert inspection.finish() == hashlib.blake2b(content).hexdigest()


def test_the_wrong_file_is_known_long_before_its_end() -> None:
    inspection = Inspection("setup.exe")
    for _ in range(HEAD_BYTES // 1024 - 1):
        inspection.see(b"x" * 1024)
    with pytest.raises(Invalid):
        inspection.see(b"x" * 1024)


def test_a_short_wrong_file_is_known_at_its_end() -> None:
    inspection = Inspection("setup.exe")
    inspection.see(b"x")
    with pytest.raises(Invalid):
        inspection.finish()
