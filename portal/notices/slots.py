"""A mail that is put together once and filled in per person.

While the templates are rendered, a marker word stands for whatever differs per person. The rendered text is then split at the
markers: what lies between them is encoded once, and a mail is a join of that with the values of one person. The pieces are
plain data, so that they can be kept as JSON and filled in later, by another process, into the very same bytes.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from markupsafe import escape

from portal.notices import mime
from portal.notices.mime import CRLF, SOFT_BREAK

FORMAT = 1


class Slot(NamedTuple):
    """A place in a mail that is filled in per person.

    `part` says how a value is written there: as it is ("header"), as a subject ("subject"), or encoded, in the "text" or,
    escaped, in the "html". A value that is there stands between `before` and `after`; without one, `otherwise` stands instead.
    """

    part: str
    name: str
    before: str = ""
    after: str = ""
    otherwise: str = ""


Piece = str | Slot
# By the name of its slot. A block of text that is written differently in each part is a mapping by part.
Value = str | Mapping[str, str]
Values = Mapping[str, Value]


class MarkerLost(Exception):
    """A template changed a marker, so that the place of its slot is lost."""


class _Marker(str):
    """A word that stands for a value not known yet, so that nothing can depend on what it is."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise MarkerLost("asks for something that differs per person")


class Markers:
    """The marker words of one rendering, random, so that no text can hold one by chance or by intent."""

    def __init__(self) -> None:
        self._word = f"slot{secrets.token_hex(12)}n"
        self._slots: list[Slot] = []

    def mark(self, slot: Slot, *, known_to_be_there: bool = False) -> str:
        """Return a word for `slot`. A template may ask whether it is there only if it is there for everybody."""
        self._slots.append(slot)
        word = f"{self._word}{len(self._slots) - 1}z"
        return word if known_to_be_there else _Marker(word)

    def split(self, text: str) -> list[Piece]:
        """Return the pieces of a rendered text. Raises MarkerLost where a marker was changed, say to capitals."""
        parts = re.split(rf"{self._word}(\d+)z", text)
        if any(self._word in part.lower() for part in parts[::2]):
            raise MarkerLost("changes something that differs per person")
        return [self._slots[int(part)] if place % 2 else part for place, part in enumerate(parts)]


def compose(headers: Sequence[tuple[str, Piece]], text: Sequence[Piece], html: Sequence[Piece], boundary: str) -> list[Piece]:
    """Return the pieces of a whole mail: ready bytes (as str), and slots between them. 7-bit but for addresses that are not.

    `boundary` may hold "=_", which quoted-printable text never does, so it cannot occur in a part.
    """
    pieces: list[Piece] = []
    for name, value in headers:
        pieces += [f"{name}: ", value, CRLF]
    pieces.append(f'MIME-Version: 1.0{CRLF}Content-Type: multipart/alternative; boundary="{boundary}"{CRLF}{CRLF}')
    for subtype, part in (("plain", text), ("html", html)):
        pieces.append(
            f'--{boundary}{CRLF}Content-Type: text/{subtype}; charset="utf-8"{CRLF}Content-Transfer-Encoding: quoted-printable{CRLF}{CRLF}'
        )
        pieces += _encoded(part)
        pieces.append(CRLF)
    pieces.append(f"--{boundary}--{CRLF}")
    return _merged(pieces)


def _encoded(pieces: Iterable[Piece]) -> list[Piece]:
    """Encode what stands between the slots, with soft breaks where a line of it and a value would run into each other."""
    encoded: list[Piece] = []
    line_begins = True
    after_slot = False
    for piece in pieces:
        if isinstance(piece, Slot):
            encoded += [piece] if line_begins else [SOFT_BREAK, piece]
            line_begins, after_slot = False, True
        elif piece:
            static = mime.quoted_printable(mime.line_feeds(piece)).decode("ascii")
            encoded += [SOFT_BREAK, static] if after_slot and not static.startswith(CRLF) else [static]
            line_begins, after_slot = static.endswith(CRLF), False
    return encoded


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and isinstance(piece, str) and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


class Mail:
    """A mail ready to be filled in, as often as there are people."""

    def __init__(self, subject: Sequence[Piece], message: Sequence[Piece]) -> None:
        self.subject = list(subject)
        self._message = list(message)
        self._pieces = [piece.encode() if isinstance(piece, str) else b"" for piece in message]
        slots = [(place, piece) for place, piece in enumerate(message) if isinstance(piece, Slot)]
        self._fillings = [(place, slot.name, _writer(slot), _encode(slot.part, slot.otherwise)) for place, slot in slots]
        in_subject = [piece for piece in subject if isinstance(piece, Slot)]
        self.has_fixed_subject = not in_subject
        self._subject_slots = {slot.name for slot in in_subject}
        self._usual_subject = self._subject({})
        self._slots = [*in_subject, *(slot for _, slot in slots)]

    @property
    def names(self) -> set[str]:
        """The names of the slots."""
        return {slot.name for slot in self._slots}

    def parts_of(self, name: str) -> set[str]:
        """Return the parts of the mail in which there is a slot called `name`."""
        return {slot.part for slot in self._slots if slot.name == name}

    def subject_for(self, values: Values) -> str:
        """Return the subject that the person with these values reads: for most of them the usual one."""
        return self._usual_subject if self._subject_slots.isdisjoint(values) else self._subject(values)

    def _subject(self, values: Values) -> str:
        return mime.one_line(
            "".join(piece if isinstance(piece, str) else _content(piece, values.get(piece.name)) for piece in self.subject)
        )

    def fill(self, values: Values) -> bytes:
        """Return the bytes of the mail for the person with these values."""
        pieces = self._pieces.copy()
        for place, name, write, otherwise in self._fillings:
            value = values.get(name)
            pieces[place] = write(value) if value else otherwise
        return b"".join(pieces)

    def dump(self) -> dict[str, Any]:
        """Return the mail as data for JSON."""
        return {"format": FORMAT, "subject": _dumped(self.subject), "message": _dumped(self._message)}


def load(dumped: Mapping[str, Any] | None) -> Mail | None:
    """Return the mail that `Mail.dump` wrote down, None for nothing and for a format of another time."""
    if not dumped or dumped.get("format") != FORMAT:
        return None
    return Mail(_read(dumped["subject"]), _read(dumped["message"]))


def _dumped(pieces: Iterable[Piece]) -> list[str | list[str]]:
    return [piece if isinstance(piece, str) else list(piece) for piece in pieces]


def _read(pieces: Iterable[str | list[str]]) -> list[Piece]:
    return [piece if isinstance(piece, str) else Slot(*piece) for piece in pieces]


def _content(slot: Slot, value: Value | None) -> str:
    """Return what stands in a slot, not encoded yet."""
    text = value if value is None or isinstance(value, str) else value.get(slot.part)
    if not text:
        return slot.otherwise
    return f"{slot.before}{escape(text) if slot.part == 'html' else text}{slot.after}"


@lru_cache(maxsize=64)
def _encode(part: str, text: str) -> bytes:
    """Return a value as it is written. Remembered for a moment: links stand in both parts, and blocks in many mails."""
    return mime.unstructured("Subject", text).encode() if part == "subject" else mime.quoted_printable(mime.line_feeds(text))


def _writer(slot: Slot) -> Callable[[Value], bytes]:
    """Return what writes a value into a slot: this runs a dozen times for each mail."""
    part, before, after = slot.part, slot.before, slot.after

    def as_it_is(value: Value) -> bytes:
        return str(value).encode()

    def as_text(value: Value) -> bytes:
        text = value if isinstance(value, str) else value.get(part, "")
        return _encode(part, f"{before}{text}{after}" if text else slot.otherwise)

    def as_html(value: Value) -> bytes:
        text = value if isinstance(value, str) else value.get(part, "")
        return _encode(part, f"{before}{escape(text)}{after}" if text else slot.otherwise)

    return {"header": as_it_is, "html": as_html}.get(part, as_text)


_encoder = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def key_of(value: Any) -> str:
    """Return equal text for equal values, for what is rendered once for all people who share it."""
    return _encoder.encode(value)
