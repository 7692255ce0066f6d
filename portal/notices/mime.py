"""One mail as bytes (RFC 5322, RFC 2045): headers that nothing can break out of, and two parts, text and HTML.

Written out by hand: the standard library's `EmailMessage` breaks long List-Unsubscribe headers into encoded words that no
mail program follows, and takes milliseconds for each mail.
"""

import base64
import binascii
import re
import textwrap
import unicodedata
from email.utils import quote
from functools import lru_cache
from typing import NamedTuple

CRLF = "\r\n"
SOFT_BREAK = "=\r\n"
LINE_LENGTH = 76
ENCODED_BYTES = 39
LONGEST_NAME = 400
LONGEST_LOCAL_PART = 64
LONGEST_ADDRESS = 254
_BREAKING = {"Cc", "Zl", "Zp", "Cs"}
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")


class Letter(NamedTuple):
    """A mail ready to be sent: to `address` alone, and back to `return_path` if it cannot be delivered."""

    delivery_id: int
    address: str
    return_path: str
    message: bytes


def is_plain_address(text: str) -> bool:
    """Whether `text` is one address that needs no quotes in a header, its domain in ASCII: dot-atom "@" labels (RFC 5322, 3.4.1).

    Quoted local parts and address literals are lawful and hardly ever meant; a comma or a bracket would make two of one.
    """
    return (
        len(text) <= LONGEST_ADDRESS
        and _ADDRESS.fullmatch(text) is not None
        and text.index("@") <= LONGEST_LOCAL_PART
        and (text.isascii() or text.isprintable())
    )


def one_line(text: str) -> str:
    """Return `text` as one line: line breaks, NUL and other control characters become spaces, runs of spaces one."""
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(c) in _BREAKING else c for c in text)
    return " ".join(text.split())


def line_feeds(text: str) -> str:
    """Return `text` with all line ends as `\n`, and without NUL."""
    if "\r" in text or "\x00" in text:
        return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return text


@lru_cache(maxsize=256)
def unstructured(name: str, text: str) -> str:
    """Return the value of a header of free text, such as Subject: folded, and encoded (RFC 2047) where plain ASCII will not do."""
    text = one_line(text)
    if not text.isascii() or "=?" in text or any(len(word) > LINE_LENGTH for word in text.split()):
        return encoded_words(text)
    lines = textwrap.wrap(f"{name}: {text}", LINE_LENGTH, break_on_hyphens=False)
    return f"{CRLF} ".join(lines).removeprefix(f"{name}:").lstrip()


def mailbox(name: str, address: str) -> str:
    """Return `address` with a display name before it, for From, To and Reply-To. `address` has been checked to be one."""
    name = one_line(name)
    if not name:
        return address
    if name.isascii() and "=?" not in name and len(name) <= LONGEST_NAME:
        shown = f'"{quote(name)}"'
        fold = "" if len(shown) + len(address) < LINE_LENGTH - len("Reply-To: <>") else CRLF
        return f"{shown}{fold} <{address}>"
    return f"{encoded_words(name)}{CRLF} <{address}>"


def encoded_words(text: str) -> str:
    """Return `text` as encoded words of at most 75 characters, none of which cuts a character (RFC 2047, 2 and 5)."""
    chunks = [""]
    size = 0
    for character in text:
        length = len(character.encode("utf-8", "replace"))
        if size + length > ENCODED_BYTES:
            chunks.append("")
            size = 0
        chunks[-1] += character
        size += length
    return f"{CRLF} ".join(f"=?utf-8?b?{base64.b64encode(chunk.encode('utf-8', 'replace')).decode()}?=" for chunk in chunks)


def quoted_printable(text: str) -> bytes:
    """Return `text`, whose line ends are `\n`, for transport: lines of at most 76 characters, the last of at most 75 (RFC 2045, 6.7).

    What is encoded in pieces is whole again when a soft break stands between them.
    """
    if text.isascii() and text.isprintable() and "=" not in text and " " not in text:  # a link: as it is, but for soft breaks
        if len(text) < LINE_LENGTH:
            return text.encode()
        return "=\r\n".join([text[at : at + LINE_LENGTH - 1] for at in range(0, len(text), LINE_LENGTH - 1)]).encode()
    encoded = binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True)
    if len(encoded) < LINE_LENGTH:
        return encoded.replace(b"\n", b"\r\n")
    lines = encoded.split(b"\n")
    # The library lets a line that ends in a space, and the last one, grow a little beyond that.
    if len(lines[-1]) > LINE_LENGTH - 1 or max(map(len, lines)) > LINE_LENGTH:
        lines = [short for line in lines for short in _shortened(line)]
    return b"\r\n".join(lines)


def _shortened(line: bytes) -> list[bytes]:
    """Return a line of quoted-printable in one or two that are short enough, no code cut in two."""
    if len(line) < LINE_LENGTH or (len(line) == LINE_LENGTH and line.endswith(b"=")):
        return [line]
    cut = LINE_LENGTH - 1
    cut -= next((back for back in (1, 2) if line[cut - back : cut - back + 1] == b"="), 0)
    return [line[:cut] + b"=", line[cut:]]
