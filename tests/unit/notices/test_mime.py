"""Mails as bytes, read back by the standard library's parser: nothing breaks out of a header, and all text survives."""

import email.policy
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.notices import mime

NASTY = "Eve\r\nBcc: all@example.org\x00\r\n\r\n<script>"


def parse(raw: bytes) -> EmailMessage:
    parsed = BytesParser(policy=email.policy.default).parsebytes(raw)
    assert isinstance(parsed, EmailMessage)
    return parsed


def mail(subject: str = "Hello", name: str = "Ann", text: str = "text", html: str = "<p>html</p>") -> bytes:
    headers = [
        ("From", mime.mailbox("Vendor", "vendor@example.org")),
        ("To", mime.mailbox(name, "ann@example.org")),
        ("Subject", mime.unstructured("Subject", subject)),
    ]
    return mime.compose(headers, text, html, "=_n1.d2")


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@given(subject=st.text(max_size=400), name=st.text(max_size=120))
def test_whatever_stands_in_a_subject_or_name_there_are_the_same_headers_and_short_lines(subject: str, name: str) -> None:
    raw = mail(subject, name)
    head = raw.partition(b"\r\n\r\n")[0]
    message = parse(raw)
    assert [header.lower() for header in message] == ["from", "to", "subject", "mime-version", "content-type"]
    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert all(len(word) <= 75 for word in re.findall(rb"=\?[^ ]+\?=", head))
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.org"]


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=120)
    .map(mime.one_line)
    .filter(lambda text: "=?" not in text)
)
def test_a_subject_survives_its_encoding(text: str) -> None:
    raw = mail(subject=text)
    value = re.search(rb"^Subject: ([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)", raw, re.MULTILINE)
    assert value is not None
    unfolded = re.sub(r"\r\n(?=[ \t])", "", value[1].decode())
    assert mime.one_line(str(make_header(decode_header(unfolded)))) == text


@given(
    text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=2000),
)
def test_text_survives_the_transport(text: str) -> None:
    message = parse(mail(text=text, html=text))
    assert part(message, "plain") == text
    assert [one.get_content_type() for one in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("where", ["subject", "name"])
def test_line_breaks_and_nul_cannot_add_a_header(where: str) -> None:
    message = parse(mail(**{where: NASTY}))
    assert message["Bcc"] is None
    assert "Bcc: all@example.org" in str(message["Subject" if where == "subject" else "To"])


def test_names_are_shown_as_they_are() -> None:
    for name in ("Jörg Müßig", "O'Hara, Ann (IT)", 'Ann "the boss" Example', "田中 さくら", "x" * 120):
        shown = parse(mail(name=name))["To"].addresses[0]
        assert (shown.display_name, shown.addr_spec) == (name, "ann@example.org")


def test_a_long_line_is_wrapped_for_transport_and_whole_for_the_reader() -> None:
    long = "https://example.org/" + "a" * 3000
    raw = mail(text=f"{long}\n.\n..\nFrom here")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 78
    assert part(parse(raw), "plain") == f"{long}\n.\n..\nFrom here"
