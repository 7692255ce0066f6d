"""One mail as bytes (RFC 5322, RFC 2045): headers that nothing can break out of, and two parts, text and HTML.

Written out by hand: the standard library's `EmailMessage` breaks long List-Unsubscribe headers into encoded words that no
mail program follows, and takes milliseconds for each mail.
"""

import base64
import binascii
import textwrap
import unicodedata
from collections.abc import Sequence
from email.utils import quote

CRLF = "\r\n"
LINE_LENGTH = 76
ENCODED_BYTES = 39
LONGEST_NAME = 400
_BREAKING = {"Cc", "Zl", "Zp", "Cs"}


def one_line(text: str) -> str:
    """Return `text` as one line: line breaks, NUL and other control characters become spaces, runs of spaces one."""
    return " ".join("".join(" " if unicodedata.category(c) in _BREAKING else c for c in text).split())


def unstructured(name: str, text: str) -> str:
    """Return the value of a header of free text, such as Subject: folded, and encoded (RFC 2047) where plain ASCII will not do."""
    text = one_line(text)
    if not text.isascii() or "=?" in text or any(len(word) > LINE_LENGTH for word in text.split()):
        return _encoded_words(text)
    lines = textwrap.wrap(f"{name}: {text}", LINE_LENGTH, break_on_hyphens=False)
    return f"{CRLF} ".join(lines).removeprefix(f"{name}:").lstrip()


def mailbox(name: str, address: str) -> str:
    """Return `address` with a display name before it, for From, To and Reply-To. `address` has been checked to be one."""
    name = one_line(name)
    if not name:
        return address
    if name.isascii() and "=?" not in name and len(name) <= LONGEST_NAME:
        return f'"{quote(name)}" <{address}>'
    return f"{_encoded_words(name)}{CRLF} <{address}>"


def _encoded_words(text: str) -> str:
    """Return `text` as encoded words of at most 75 characters, none of which cuts a character (RFC 2047, 2 and 5)."""
    chunks = [""]
    for character in text:
        if len((chunks[-1] + character).encode()) > ENCODED_BYTES:
            chunks.append("")
        chunks[-1] += character
    return f"{CRLF} ".join(f"=?utf-8?b?{base64.b64encode(chunk.encode()).decode()}?=" for chunk in chunks)


def compose(headers: Sequence[tuple[str, str]], text: str, html: str, boundary: str) -> bytes:
    """Return the whole mail, 7-bit but for addresses that are not.

    `boundary` may hold "=_", which quoted-printable text never does, so it cannot occur in a part.
    """
    lines = [f"{name}: {value}" for name, value in headers]
    lines += ["MIME-Version: 1.0", f'Content-Type: multipart/alternative; boundary="{boundary}"', "", ""]
    head = CRLF.join(lines).encode()
    return b"".join((
        head, _part(boundary, "plain", text), _part(boundary, "html", html), f"--{boundary}--{CRLF}".encode(),
    ))  # fmt: skip


def _part(boundary: str, subtype: str, content: str) -> bytes:
    head = CRLF.join((
        f"--{boundary}", f'Content-Type: text/{subtype}; charset="utf-8"', "Content-Transfer-Encoding: quoted-printable", "", "",
    ))  # fmt: skip
    normal = "\r\n".join(content.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return head.encode() + binascii.b2a_qp(normal.encode("utf-8", "replace"), istext=True) + CRLF.encode()
