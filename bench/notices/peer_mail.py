"""The mail that peers send: to one person, in text and HTML, of as many bytes as our notice has. Only the standard library."""

from collections.abc import Callable
from dataclasses import dataclass

SENDER = "releases@example.org"
SUBJECT = "Macro Studio 15.2.1 is out"
SENTENCE = "Recording no longer drops the first key of a shortcut held for long."


@dataclass(frozen=True)
class PeerMail:
    """One person's mail, made by putting strings together: a peer is not charged for rendering templates."""

    address: str
    text: str
    html: str
    headers: dict[str, str]


def peer_mail(number: int, length: int) -> PeerMail:
    """Return the mail to the `number`-th person; its notes, a list with an item per line, have `length` characters or so."""
    address, name = f"person{number}@customer{number % 97}.example.org", f"Person {number}"
    link = f"https://portal.example.org/notices/unsubscribe/{number:032x}"
    whole, rest = divmod(length, len(SENTENCE))
    items = [SENTENCE] * whole + [SENTENCE[:rest]]
    text = "\n".join(f"* {item}" for item in items)
    html = "\n".join(f"<li>{item}</li>" for item in items)
    foot = f'<p><a href="{link}">Unsubscribe</a></p>'
    return PeerMail(
        address,
        f"Hello {name},\n\n{text}\n\nUnsubscribe:\n{link}\n",
        f"<!doctype html>\n<html><body>\n<p>Hello {name},</p>\n<ul>\n{html}\n</ul>\n{foot}\n</body></html>\n",
        {"List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    )


def length_for(size: int, bytes_of: Callable[[PeerMail], int]) -> int:
    """Return how long the notes must be for the whole mail, as `bytes_of` counts it, to have at most `size` bytes, and nearly."""
    low, high = 0, size
    while low < high:
        middle = (low + high + 1) // 2
        if bytes_of(peer_mail(1000, middle)) <= size:
            low = middle
        else:
            high = middle - 1
    return low
