"""A second reader of mails, strict where the standard library is kind: it takes nothing that RFC 5322, 2045, 2046 and 2047 forbid.

Written from the RFCs and sharing nothing with `portal.notices`, for the mails that the portal makes: 7-bit but for addresses,
two parts, quoted-printable.
"""

import base64
import re
from dataclasses import dataclass

_FIELD = re.compile(r"([!-9;-~]+): ?(.*)", re.DOTALL)
_QUOTED_PRINTABLE_LINE = re.compile(rb"(?:[\t !-<>-~]|=[0-9A-F]{2})*=?")
_ENCODED_WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/]+=*)\?=")


@dataclass(frozen=True)
class RawMail:
    """A mail as it is read: unfolded fields in their order, and the content of both parts."""

    fields: list[tuple[str, str]]
    text: str
    html: str

    def __getitem__(self, name: str) -> str:
        """The only field of that name."""
        [value] = [value for field, value in self.fields if field.lower() == name.lower()]
        return value

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fields]


def read(raw: bytes) -> RawMail:
    """Read a mail. Fails an assertion at the first thing that is not as it must be."""
    assert raw.endswith(b"\r\n")
    assert not re.search(rb"\x00|\r(?!\n)|(?<!\r)\n", raw), "NUL, or a line end that is not CRLF"
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = _fields(head)
    mail = dict(fields)
    assert len({name.lower() for name, _ in fields}) == len(fields), "a field stands twice"
    boundary = re.fullmatch(r'multipart/alternative; boundary="([^"]{1,70})"', mail["Content-Type"])
    assert boundary is not None
    text, html = _parts(body, boundary[1].encode())
    return RawMail(fields, _content(text, "text/plain"), _content(html, "text/html"))


def plain_words(value: str) -> str:
    """Return a field's value with its encoded words decoded one by one: none may hold half a character (RFC 2047, 5)."""
    assert all(len(word) <= 75 for word in value.split() if word.startswith("=?"))
    joined = re.sub(r"\?=\s+=\?", "?==?", value)
    return _ENCODED_WORD.sub(lambda word: base64.b64decode(word[1], validate=True).decode("utf-8"), joined)


def _fields(head: bytes) -> list[tuple[str, str]]:
    text = head.decode("utf-8")
    for line in text.split("\r\n"):
        assert line.strip(), "a folded line of nothing but space"
    fields = []
    for line in re.split(r"\r\n(?![ \t])", text):
        match = _FIELD.fullmatch(line)
        assert match is not None, f"no header field: {line!r}"
        fields.append((match[1], re.sub(r"\r\n(?=[ \t])", "", match[2])))
    return fields


def _parts(body: bytes, boundary: bytes) -> tuple[bytes, bytes]:
    start, *parts = re.split(rb"(?:\A|\r\n)--" + re.escape(boundary), body)
    assert start == b""
    assert len(parts) == 3, "two parts and the end"
    assert parts[2] == b"--\r\n"
    return parts[0], parts[1]


def _content(part: bytes, content_type: str) -> str:
    assert part.startswith(b"\r\n")
    head, _, body = part[2:].partition(b"\r\n\r\n")
    assert dict(_fields(head)) == {
        "Content-Type": f'{content_type}; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }
    decoded = b""
    for line in body.split(b"\r\n"):
        assert len(line) <= 76
        assert _QUOTED_PRINTABLE_LINE.fullmatch(line), f"not quoted-printable: {line!r}"
        assert not line.endswith((b" ", b"\t")), "space at the end of a line is lost on the way"
        soft = line.endswith(b"=")
        decoded += re.sub(rb"=([0-9A-F]{2})", lambda code: bytes.fromhex(code[1].decode()), line[:-1] if soft else line)
        decoded += b"" if soft else b"\n"
    return decoded.removesuffix(b"\n").decode("utf-8")
