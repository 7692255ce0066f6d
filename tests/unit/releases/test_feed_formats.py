"""A feed says the same in both formats, and no text can break either."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import feedparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.markdown import render_markdown
from portal.releases.feed_formats import Attachment, Entry, Feed, atom, json_feed

ATOM = "{http://www.w3.org/2005/Atom}"
AT = datetime(2026, 11, 24, 9, 0, 0, 123456, tzinfo=UTC)
ENTRY = Entry(
    id="tag:portal.example.org,2026-11-24:macro-studio/15.3",
    url="https://portal.example.org/releases/macro-studio/15.3/",
    title="Macro Studio <15.3> & friends",
    summary="Faster, 5 < 6 & all that",
    html="<p>Faster &amp; <em>better</em></p>",
    published=AT,
    updated=AT,
    attachments=(Attachment("https://portal.example.org/a%20b.msi", 5),),
)
FEED = Feed(
    id="tag:portal.example.org,2026-11-24:macro-studio/releases",
    title="Macro Studio releases",
    description="What is new.",
    author="Northwind & Sons",
    page_url="https://portal.example.org/releases/macro-studio/",
    url="https://portal.example.org/releases/macro-studio/feed.atom",
    updated=AT,
    entries=(ENTRY,),
)
# Everything a column could hold, with what XML forbids made likely.
texts = st.text(
    st.one_of(st.characters(), st.sampled_from("\x00\x01\x08\x0b\x0c\x0e\x1f\x7f\x85\ud800\udfff\ufffe\uffff]]><&\"'")), max_size=60
)


def one_entry(document: bytes) -> dict[str, Any]:
    parsed = feedparser.parse(document)
    assert not parsed.bozo, parsed.get("bozo_exception")
    (entry,) = parsed.entries
    return dict(entry)


def test_atom_reads_as_written() -> None:
    root = ElementTree.fromstring(atom(FEED))
    assert root.tag == f"{ATOM}feed"
    assert root.findtext(f"{ATOM}id") == FEED.id
    assert root.findtext(f"{ATOM}title") == FEED.title
    assert root.findtext(f"{ATOM}subtitle") == FEED.description
    assert root.findtext(f"{ATOM}author/{ATOM}name") == FEED.author
    assert root.findtext(f"{ATOM}updated") == "2026-11-24T09:00:00+00:00"
    assert {link.get("rel"): link.get("href") for link in root.findall(f"{ATOM}link")} == {"alternate": FEED.page_url, "self": FEED.url}
    (entry,) = root.findall(f"{ATOM}entry")
    assert entry.findtext(f"{ATOM}title") == ENTRY.title
    content = entry.find(f"{ATOM}content")
    assert content is not None
    assert (content.get("type"), content.text) == ("html", ENTRY.html)


def test_an_independent_reader_shows_summary_and_files() -> None:
    entry = one_entry(atom(FEED))
    assert entry["title"] == ENTRY.title
    assert entry["summary"] == "Faster, 5 &lt; 6 &amp; all that"
    assert entry["content"][0]["value"] == ENTRY.html
    files = [(link["href"], link["length"], link["type"]) for link in entry["links"] if link["rel"] == "enclosure"]
    assert files == [("https://portal.example.org/a%20b.msi", "5", "application/octet-stream")]


def test_json_feed_has_what_its_specification_requires() -> None:
    document = json.loads(json_feed(FEED))
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert document["title"] == FEED.title
    assert document["authors"] == [{"name": FEED.author}]
    (item,) = document["items"]
    assert item["id"] == ENTRY.id
    assert item["content_html"] == ENTRY.html
    assert item["date_published"] == "2026-11-24T09:00:00+00:00"
    assert item["attachments"] == [{"url": ENTRY.attachments[0].url, "mime_type": "application/octet-stream", "size_in_bytes": 5}]


def test_a_secret_address_stands_in_neither_format_and_no_member_is_null() -> None:
    secret = replace(FEED, url=None, entries=(replace(ENTRY, summary="", attachments=()),))
    assert [link.get("rel") for link in ElementTree.fromstring(atom(secret)).findall(f"{ATOM}link")] == ["alternate"]
    assert "feed_url" not in json.loads(json_feed(secret))
    assert b"null" not in json_feed(secret)
    assert "summary" not in one_entry(atom(secret)) or one_entry(atom(secret))["summary"] == ENTRY.html


@pytest.mark.parametrize("write", [atom, json_feed])
def test_a_feed_without_entries_does_not_tell_the_time(write: Any) -> None:
    empty = replace(FEED, entries=())
    assert write(empty) == write(empty)
    assert b"2026-11-24T09:00:00" in atom(empty)


@given(texts, texts, texts)
def test_no_text_breaks_the_feed(title: str, summary: str, notes: str) -> None:
    entry = replace(ENTRY, title=title, summary=summary, html=str(render_markdown(notes.encode("utf-8", "replace").decode())) + notes)
    feed = replace(FEED, title=title, description=summary, author=notes, entries=(entry,))
    root = ElementTree.fromstring(atom(feed))
    document = json.loads(json_feed(feed))
    shown = root.findtext(f"{ATOM}entry/{ATOM}title") or ""
    # A parser of XML gives line ends as \n.
    assert shown == document["items"][0]["title"].replace("\r\n", "\n").replace("\r", "\n")
