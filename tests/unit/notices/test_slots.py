"""Mails with slots: whatever a value holds, it arrives as it is or made harmless, and the mail stays a mail."""

import email
import email.policy
import json
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portal.notices import mime, slots
from portal.notices.slots import Mail, MarkerLost, Markers, Piece, Slot
from tests import raw_mail

NASTY = [
    "Eve\r\nBcc: all@example.org",
    "\x00",
    "=",
    "=3D",
    "=\r\n",
    " ",
    "\t",
    ".",
    "\r\n.\r\n",
    "--=_n1--",
    "<b>&amp;\"'",
    "From me",
    "x" * 5000,
]
values = st.one_of(st.text(max_size=300), st.sampled_from(NASTY), st.lists(st.sampled_from(NASTY), max_size=4).map("".join))


def mail(before: str = "Dear ", after: str = ",\nbye.", around: tuple[str, str] = ("", ""), otherwise: str = "") -> Mail:
    headers: list[tuple[str, Piece]] = [
        ("From", "vendor@example.org"),
        ("To", Slot("header", "to")),
        ("Subject", Slot("subject", "value")),
    ]
    parts: list[list[Piece]] = []
    for part in ("text", "html"):
        slot = Slot(part, "value", *around, otherwise)
        parts.append([before, slot, after, slot])
    return Mail([Slot("subject", "value")], slots.compose(headers, parts[0], parts[1], "=_n1"))


def harmless(text: str) -> str:
    return mime.line_feeds(text).encode("utf-8", "replace").decode()


@given(value=values, before=values, after=values)
@example(value="", before="ends in space ", after="\nline")
@example(value="ends in space ", before="a\n", after="\n")
@example(value="é" * 40, before="x" * 75, after="x" * 75)
def test_any_value_survives_in_both_parts_between_any_text(value: str, before: str, after: str) -> None:
    raw = mail(before, after).fill({"to": "ann@example.org", "value": value})
    read = raw_mail.read(raw)
    assert read.names == ["From", "To", "Subject", "MIME-Version", "Content-Type"]
    expected = "".join(harmless(text) for text in (before, value, after, value))
    assert read.text == expected
    assert read.html == "".join(harmless(text) for text in (before, escaped(value), after, escaped(value)))
    assert raw_mail.plain_words(read["Subject"]) == mime.one_line(value).encode("utf-8", "replace").decode()


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;").replace("'", "&#39;")


@given(value=values, before=values, after=values)
def test_the_standard_library_reads_the_same(value: str, before: str, after: str) -> None:
    raw = mail(before, after).fill({"to": "ann@example.org", "value": value})
    strict = raw_mail.read(raw)
    modern = email.message_from_bytes(raw, policy=email.policy.default)
    old = email.message_from_bytes(raw, policy=email.policy.compat32)
    assert isinstance(modern, EmailMessage)
    assert [part.get_content_type() for part in modern.iter_parts()] == ["text/plain", "text/html"]
    for message in (modern, old):
        assert message.defects == []
        assert [part.defects for part in message.walk()] == [[], [], []]
        for part, content in zip(list(message.walk())[1:], (strict.text, strict.html), strict=True):
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            assert payload.decode().replace("\r\n", "\n") == content


@given(value=values, before=values, after=values)
def test_a_mail_kept_as_json_gives_the_same_bytes(value: str, before: str, after: str) -> None:
    one = mail(before, after, ("«", "»"), "nobody")
    other = slots.load(json.loads(json.dumps(one.dump())))
    assert other is not None
    for person in ({"value": value}, {}):
        assert other.fill({"to": "ann@example.org", **person}) == one.fill({"to": "ann@example.org", **person})
        assert other.subject_for(person) == one.subject_for(person)


def test_nothing_and_another_format_are_not_loaded() -> None:
    assert slots.load(None) is None
    assert slots.load({}) is None
    assert slots.load({**mail().dump(), "format": 0}) is None


def test_what_surrounds_a_value_stands_only_where_there_is_one() -> None:
    greeting = mail("", "|", ("Hello ", ",\n"), "Nobody. ")
    assert raw_mail.read(greeting.fill({"to": "a@example.org", "value": "Ann"})).text == "Hello Ann,\n|Hello Ann,\n"
    assert raw_mail.read(greeting.fill({"to": "a@example.org", "value": ""})).text == "Nobody. |Nobody. "
    assert raw_mail.read(greeting.fill({"to": "a@example.org"})).text == "Nobody. |Nobody. "


def test_a_block_is_written_differently_in_each_part() -> None:
    read = raw_mail.read(mail().fill({"to": "a@example.org", "value": {"text": "two", "subject": "three"}}))
    assert (read.text, read.html, read["Subject"]) == ("Dear two,\nbye.two", "Dear ,\nbye.", "three")


def test_markers_are_found_wherever_they_were_put_and_can_be_in_no_text_by_chance() -> None:
    markers, others = Markers(), Markers()
    first, second = Slot("text", "one"), Slot("text", "two")
    one, two = markers.mark(first), markers.mark(second, known_to_be_there=True)
    assert markers.split(f"a {one}b{two}{one} {others.mark(first)}")[:6] == ["a ", first, "b", second, "", first]
    assert markers.split("slot0z {{ 7*7 }} slot") == ["slot0z {{ 7*7 }} slot"]


def test_a_marker_that_was_changed_is_missed() -> None:
    markers = Markers()
    word = markers.mark(Slot("text", "one"))
    with pytest.raises(MarkerLost, match="changes something"):
        markers.split(f"a {word.upper()}")


def test_nothing_can_depend_on_whether_a_person_has_a_value() -> None:
    markers = Markers()
    assert markers.mark(Slot("text", "url"), known_to_be_there=True)
    with pytest.raises(MarkerLost, match="asks for something"):
        bool(markers.mark(Slot("text", "name")))
