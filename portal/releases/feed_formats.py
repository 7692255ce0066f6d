"""A feed as bytes: Atom (RFC 4287) and JSON Feed 1.1.

Neither holds the time of its making, so a feed that says the same is the same, byte for byte, and keeps its ETag.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from feedgenerator import Atom1Feed
from feedgenerator.django.utils.feedgenerator import Enclosure

JSON_FEED = "https://jsonfeed.org/version/1.1"
LANGUAGE = "en"
BINARY = "application/octet-stream"  # as the portal sends builds
# XML 1.0, section 2.2: what is no Char. No escape makes it one, and a reader would refuse the whole feed for it.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Attachment:
    """A file of an entry; `size` in bytes."""

    url: str
    size: int


@dataclass(frozen=True)
class Entry:
    """One entry. `title` and `summary` are plain text, `html` is clean HTML, addresses are whole, times are UTC."""

    id: str
    url: str
    title: str
    summary: str
    html: str
    published: datetime
    updated: datetime
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Feed:
    """A feed. `url` is its own address, None for one that is a secret. `updated`: when what it says last changed."""

    id: str
    title: str
    description: str
    author: str
    page_url: str
    url: str | None
    updated: datetime
    entries: tuple[Entry, ...]


class _Atom(Atom1Feed):  # type: ignore[misc]
    """The library takes the present for a feed without entries, and knows nothing of entries that went."""

    def latest_post_date(self) -> datetime:
        updated: datetime = self.feed["updated"]
        return updated


def atom(feed: Feed) -> bytes:
    """Return the feed as an Atom document in UTF-8."""
    document = _Atom(
        title=_clean(feed.title),
        link=feed.page_url,
        description=None,
        subtitle=_clean(feed.description),
        language=LANGUAGE,
        author_name=_clean(feed.author),
        feed_url=feed.url,
        feed_guid=feed.id,
        updated=_seconds(feed.updated),
    )
    for entry in feed.entries:
        document.add_item(
            title=_clean(entry.title),
            link=entry.url,
            # The library calls a summary HTML, whatever it is.
            description=escape(_clean(entry.summary), quote=False) if entry.summary else None,
            content=_clean(entry.html),
            unique_id=entry.id,
            pubdate=_seconds(entry.published),
            updateddate=_seconds(entry.updated),
            enclosures=[Enclosure(attachment.url, str(attachment.size), BINARY) for attachment in entry.attachments],
        )
    text: str = document.writeString("utf-8")
    return text.encode()


def json_feed(feed: Feed) -> bytes:
    """Return the feed as a JSON Feed 1.1 document in UTF-8."""
    document = {
        "version": JSON_FEED,
        "title": _clean(feed.title),
        "home_page_url": feed.page_url,
        "feed_url": feed.url,
        "description": _clean(feed.description),
        "language": LANGUAGE,
        "authors": [{"name": _clean(feed.author)}],
        "items": [_item(entry) for entry in feed.entries],
    }
    return json.dumps(_given(document), ensure_ascii=False, indent=1).encode()


def _item(entry: Entry) -> dict[str, Any]:
    return _given(
        {
            "id": entry.id,
            "url": entry.url,
            "title": _clean(entry.title),
            "summary": _clean(entry.summary) or None,
            "content_html": _clean(entry.html),
            "date_published": _seconds(entry.published).isoformat(),
            "date_modified": _seconds(entry.updated).isoformat(),
            "attachments": [{"url": one.url, "mime_type": BINARY, "size_in_bytes": one.size} for one in entry.attachments] or None,
        }
    )


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    """A member without a value is left out; JSON Feed knows no null."""
    return {name: value for name, value in members.items() if value is not None}


def _clean(text: str) -> str:
    """The same text in both formats, without what XML cannot hold. It is refused at the door; old rows may have it."""
    return _NOT_IN_XML.sub("", text)


def _seconds(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)


FORMATS: dict[str, tuple[str, Callable[[Feed], bytes]]] = {
    "atom": ("application/atom+xml; charset=utf-8", atom),
    "json": ("application/feed+json", json_feed),
}
"""Content type and writer, by the ending of the feed's address."""
