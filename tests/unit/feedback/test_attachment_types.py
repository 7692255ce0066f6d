"""What a file is told to be by its bytes, and which are taken."""

import pytest

from portal.errors import Invalid
from portal.feedback.attachments import Inspection, Limits

PICTURES_AND_TEXT = Limits(5, 1000, frozenset({"png", "text"}))
ANYTHING = Limits(5, 1000, None)
PNG = b"\x89PNG\r\n\x1a\nxxxx"


def inspect(name: str, *chunks: bytes, limits: Limits = PICTURES_AND_TEXT) -> None:
    inspection = Inspection(name, limits)
    for chunk in chunks:
        inspection.see(chunk)
    inspection.finish()


@pytest.mark.parametrize(
    ("name", "chunks"),
    [
        ("a.png", (PNG,)),
        ("a.png", (PNG[:3], PNG[3:])),
        ("A.PNG", (PNG,)),
        ("picture", (PNG,)),
        ("a.log", (b"12:01 lost\r\n\tagain\n",)),
        ("coloured.log", (b"\x1b[31mred\x1b[0m",)),
        ("latin.txt", ("Größe".encode("latin-1"),)),
        ("windows.txt", ("\ufeffGröße".encode("utf-16-le"),)),
        ("a.csv", (b"a;b\n",)),
    ],
)
def test_what_is_on_the_list_is_taken(name: str, chunks: tuple[bytes, ...]) -> None:
    inspect(name, *chunks)


@pytest.mark.parametrize(
    ("name", "chunks"),
    [
        ("a.zip", (b"PK\x03\x04xxxx\0",)),
        ("dump.bin", (b"\x00\x01\x02",)),
        ("late.txt", (b"x" * 5000, b"\0")),
        ("a.png", (b"<svg onload=alert(1)>",)),
        ("a.jpeg", (PNG,)),
        ("report.docx", (b"plain text",)),
    ],
)
def test_what_is_not_on_the_list_or_not_what_its_name_says_is_refused(name: str, chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(Invalid) as refused:
        inspect(name, *chunks)
    assert refused.value.field == "files"
    assert name in str(refused.value)


def test_where_any_type_is_taken_a_name_still_keeps_its_promise() -> None:
    inspect("dump.bin", b"\x00\x01", limits=ANYTHING)
    inspect("a.dmp", b"MDMP\x00", limits=ANYTHING)
    with pytest.raises(Invalid, match="does not begin like"):
        inspect("a.png", b"MZ\x00", limits=ANYTHING)


def test_the_setting_and_the_table_know_the_same_types() -> None:
    from portal.config import ATTACHMENT_TYPES
    from portal.feedback import attachments

    assert {*attachments._BEGINNINGS, attachments.TEXT} == ATTACHMENT_TYPES
