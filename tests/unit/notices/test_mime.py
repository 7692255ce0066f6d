"""Headers, addresses and encodings of a mail: nothing breaks out of a header, and all text survives."""

import email.policy
import quopri
import re
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.notices import mime
from tests import raw_mail

READABLE = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"])


def parse(head: str) -> EmailMessage:
    parsed = BytesParser(policy=email.policy.default).parsebytes(f"{head}\r\n\r\n".encode())
    assert isinstance(parsed, EmailMessage)
    return parsed


@given(subject=st.text(max_size=400), name=st.text(max_size=120))
def test_whatever_stands_in_a_subject_or_name_there_are_the_same_headers_and_short_lines(subject: str, name: str) -> None:
    head = f"Subject: {mime.unstructured('Subject', subject)}\r\nTo: {mime.mailbox(name, 'ann@example.org')}\r\nDate: now"
    message = parse(head)
    assert [header.lower() for header in message] == ["subject", "to", "date"]
    assert head.isascii()
    assert all(len(line) <= 78 or line.startswith('To: "') for line in head.split("\r\n"))
    assert "\n" not in head.replace("\r\n", "")
    assert all(len(word) <= 75 for word in re.findall(r"=\?[^ ]+\?=", head))
    assert [address.addr_spec for address in message["To"].addresses] == ["ann@example.org"]


@given(text=st.text(alphabet=READABLE, max_size=120).map(mime.one_line).filter(lambda text: "=?" not in text))
def test_a_subject_survives_its_encoding(text: str) -> None:
    value = re.sub(r"\r\n(?=[ \t])", "", mime.unstructured("Subject", text))
    assert mime.one_line(str(make_header(decode_header(value)))) == text
    assert mime.one_line(raw_mail.plain_words(value)) == text


@given(name=st.text(alphabet=READABLE, max_size=120).map(mime.one_line))
def test_no_encoded_word_cuts_a_character(name: str) -> None:
    """`plain_words` decodes each word by itself, and fails at half a character."""
    words = re.sub(r"\r\n(?=[ \t])", "", mime.encoded_words(f"ä {name}"))
    assert raw_mail.plain_words(words) == f"ä {name}"


@pytest.mark.parametrize(
    "text", ["Eve\r\nBcc: all@example.org", "Eve\nBcc: all@example.org", "Eve\rBcc: all@example.org", "Eve\x00\u2028Bcc: all@example.org"]
)
def test_line_breaks_and_nul_cannot_add_a_header(text: str) -> None:
    message = parse(f"Subject: {mime.unstructured('Subject', text)}\r\nTo: {mime.mailbox(text, 'ann@example.org')}")
    assert message["Bcc"] is None
    assert message["Subject"] == "Eve Bcc: all@example.org"
    assert message["To"].addresses == (Address("Eve Bcc: all@example.org", "ann", "example.org"),)


@pytest.mark.parametrize(
    "name", ["Jörg Müßig", "O'Hara, Ann (IT)", 'Ann "the boss" Example', "田中 さくら", "x" * 120, "a\\b", "<ann>, bob@example.org"]
)
def test_names_are_shown_as_they_are(name: str) -> None:
    shown = parse(f"To: {mime.mailbox(name, 'ann@example.org')}")["To"].addresses
    assert shown == (Address(name, "ann", "example.org"),)


def test_a_name_that_looks_like_an_encoded_word_is_not_decoded_into_another_one() -> None:
    value = mime.mailbox("=?utf-8?b?Qm9zcw==?=", "ann@example.org")
    assert raw_mail.plain_words(re.sub(r"\r\n(?= )", "", value)) == "=?utf-8?b?Qm9zcw==?= <ann@example.org>"


@pytest.mark.parametrize(
    "address",
    ["ann@example.org", "ann.b+c@sub.example.org", "o'hara@example.org", "müller@example.org", "a@b", "{x}|y@xn--mller-kva.example.org"],
)
def test_plain_addresses_are_taken(address: str) -> None:
    assert mime.is_plain_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "ann", "@example.org", "ann@", "ann@@example.org", "ann@example.org@example.com", "ann@example.org,bob@example.org",
        "ann,bob@example.org", '"ann"@example.org', '"ann bob"@example.org', '"bob@example.org"@example.com', "ann <bob@example.org>",
        "<ann@example.org>", "ann@[127.0.0.1]", "ann@example.org\r\nBcc: bob@example.org", "ann@example.org\n", "ann\x00@example.org",
        ".ann@example.org", "ann.@example.org", "a..b@example.org", "ann(bob)@example.org", "ann:bob@example.org;", "ann;bob@example.org",
        "ann@exam_ple.org", "ann@-example.org", "ann@example..org", "ann@.org", "ann@müller.example.org", "\u202eann@example.org",
        "a\u200bnn@example.org", f"{'a' * 65}@example.org", f"a@{'a' * 250}.org", "ann\uff20example.org", "ann@example\u3002org",
    ],
)  # fmt: skip
def test_what_is_not_plainly_one_address_is_not(address: str) -> None:
    assert not mime.is_plain_address(address)


@given(st.text(max_size=300).map(mime.line_feeds))
@example("000000\x1f\x80\x80\x80\x80\x80𐀀𐀀𐀀0")
def test_quoted_printable_has_short_lines_and_room_for_a_soft_break(text: str) -> None:
    check_quoted_printable(text.encode("utf-8", "replace").decode())


@pytest.mark.parametrize("end", ["", " ", "\t", "é", "=", ".", "x"])
@pytest.mark.parametrize("after", ["", "\n", "\n.", " \n"])
def test_no_length_of_a_line_makes_it_too_long(end: str, after: str) -> None:
    for length in range(60, 160):
        check_quoted_printable("x" * length + end + after)
        check_quoted_printable("é" * (length // 2) + end + after)


def check_quoted_printable(text: str) -> None:
    encoded = mime.quoted_printable(text)
    lines = encoded.split(b"\r\n")
    assert all(len(line) <= 76 for line in lines)
    assert len(lines[-1]) <= 75
    assert quopri.decodestring(encoded).decode().replace("\r\n", "\n") == text
