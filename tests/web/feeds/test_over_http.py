"""Feeds as HTTP answers, and as feed readers see them."""

import json
import re
from calendar import timegm
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import feedparser
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from portal.database import transaction
from portal.products.catalog import find_product
from portal.products.models import StableAccess
from portal.releases import publishing
from portal.releases.models import Channel
from tests.builds import CONTENT, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements
from tests.web.feeds.conftest import MakeToken

SignIn = Callable[[str], FlaskClient]
ATOM, JSON = "/releases/macro-studio/feed.atom", "/releases/macro-studio/feed.json"
A = "{http://www.w3.org/2005/Atom}"
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@pytest.fixture(params=["public", "private"])
def query(request: pytest.FixtureRequest, cast: Cast, beta: int, make_token: MakeToken) -> dict[str, str]:
    """The query of the public feed, and that of a private one."""
    return {} if request.param == "public" else {"token": make_token(cast.alice)}


def test_a_feed_reader_reads_the_atom_feed(client: FlaskClient, query: dict[str, str]) -> None:
    answer = client.get(ATOM, query_string=query)
    assert answer.content_type == "application/atom+xml; charset=utf-8"
    parsed = feedparser.parse(answer.data, response_headers={"content-type": answer.headers["Content-Type"]})
    assert not parsed.bozo, parsed.get("bozo_exception")
    assert parsed.version == "atom10"
    assert parsed.feed.author == "Northwind Automation"
    newest = parsed.entries[0]
    assert newest.title.replace("\u00a0", " ") == ("Macro Studio 15.3 beta 2" if query else "Macro Studio 15.2.1")
    assert newest.id == f"tag:127.0.0.1,2026-11-24:macro-studio/{'15.3b2' if query else '15.2.1'}"
    assert timegm(newest.published_parsed) == NOW.timestamp()
    assert "forty percent faster" in newest.content[0].value
    assert ("Pause a macro." in newest.content[0].value) is bool(query)


def test_a_feed_reader_that_comes_again_is_told_that_nothing_is_new(app: Flask, cast: Cast, beta: int, make_token: MakeToken) -> None:
    """feedparser over a real connection, with what it keeps between two visits."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.port}{ATOM}?token={make_token(cast.alice)}"
        first = feedparser.parse(address)
        assert (first.status, len(first.entries), first.bozo) == (200, 2, False)
        assert feedparser.parse(address, etag=first.etag).status == 304
        assert feedparser.parse(address, modified=first.modified).status == 304
        with app.app_context():
            publish_release("15.3b3", Channel.BETA, NOW + timedelta(minutes=1))
        again = feedparser.parse(address, etag=first.etag, modified=first.modified)
        assert (again.status, len(again.entries)) == (200, 3)
        gone = feedparser.parse(address[:-1] + "!")
        assert (gone.status, gone.entries) == (410, [])
    finally:
        server.shutdown()
        thread.join()


def test_the_atom_feed_is_what_its_specification_asks_for(client: FlaskClient, query: dict[str, str]) -> None:
    """RFC 4287: exactly one id, title and updated in the feed and in each entry; an author; links with relations."""
    root = ElementTree.fromstring(client.get(ATOM, query_string=query).data)
    entries = root.findall(f"{A}entry")
    assert entries
    for element in (root, *entries):
        for name in ("id", "title", "updated"):
            assert len(element.findall(A + name)) == 1
        assert urlsplit(element.findtext(f"{A}id") or "").scheme == "tag"
        assert RFC_3339.fullmatch(element.findtext(f"{A}updated") or "")
        assert [link.get("rel") for link in element.findall(f"{A}link")].count("alternate") == 1
    assert root.findtext(f"{A}author/{A}name")
    ids = [element.findtext(f"{A}id") for element in (root, *entries)]
    assert len(set(ids)) == len(ids)


def test_the_json_feed_is_what_its_specification_asks_for(client: FlaskClient, query: dict[str, str]) -> None:
    answer = client.get(JSON, query_string=query)
    assert answer.content_type == "application/feed+json"
    document = json.loads(answer.data)
    assert document["version"] == "https://jsonfeed.org/version/1.1"
    assert {name for name, value in document.items() if isinstance(value, str)} >= {"title", "home_page_url", "description", "language"}
    assert [sorted(author) for author in document["authors"]] == [["name"]]
    ids = [item["id"] for item in document["items"]]
    assert len(set(ids)) == len(ids) == (2 if query else 1)
    for item in document["items"]:
        assert all(isinstance(item[name], str) for name in ("id", "url", "title", "content_html"))
        assert all(RFC_3339.fullmatch(item[name]) for name in ("date_published", "date_modified"))


def test_both_formats_say_the_same(client: FlaskClient, query: dict[str, str]) -> None:
    root = ElementTree.fromstring(client.get(ATOM, query_string=query).data)
    document = json.loads(client.get(JSON, query_string=query).data)
    atom = [
        (entry.findtext(f"{A}id"), entry.findtext(f"{A}title"), entry.findtext(f"{A}content"), entry.findtext(f"{A}updated"))
        for entry in root.findall(f"{A}entry")
    ]
    assert atom == [(item["id"], item["title"], item["content_html"], item["date_modified"]) for item in document["items"]]


@pytest.mark.parametrize("path", [ATOM, JSON])
def test_links_stand_on_the_public_address_whatever_the_host_header_says(client: FlaskClient, query: dict[str, str], path: str) -> None:
    answer = client.get(path, query_string=query, headers={"Host": "localhost:4321", "X-Forwarded-Host": "evil.example.net"})
    assert b"localhost" not in answer.data
    assert b"evil.example.net" not in answer.data
    links = re.findall(r'(?:href=\\?"|"[a-z_]*url": ")([^"\\]+)', answer.get_data(as_text=True).replace("&quot;", '"'))
    assert len(links) > 2
    assert all(link.startswith("http://127.0.0.1:8000/") for link in links)


def test_a_private_feed_does_not_repeat_its_secret(client: FlaskClient, cast: Cast, beta: int, make_token: MakeToken) -> None:
    token = make_token(cast.alice)
    for path in (ATOM, JSON):
        answer = client.get(path, query_string={"token": token})
        assert token not in answer.get_data(as_text=True) + str(answer.headers)
    assert "http://127.0.0.1:8000/releases/macro-studio/feed.json" in client.get(JSON).get_data(as_text=True)


@pytest.mark.parametrize("path", [ATOM, JSON])
def test_what_did_not_change_is_not_sent_again(client: FlaskClient, query: dict[str, str], path: str) -> None:
    first = client.get(path, query_string=query)
    etag, date = first.headers["ETag"], first.headers["Last-Modified"]
    assert date == "Tue, 24 Nov 2026 09:00:00 GMT"
    with time_machine.travel(NOW + timedelta(days=9)):
        for known in (
            {"If-None-Match": etag},
            {"If-None-Match": f'"another", W/{etag}'},
            {"If-None-Match": "*"},
            {"If-Modified-Since": date},
            {"If-None-Match": etag, "If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"},
        ):
            for method in ("GET", "HEAD"):
                answer = client.open(path, method=method, query_string=query, headers=known)
                assert (answer.status_code, answer.data) == (304, b""), known
                assert answer.headers["ETag"] == etag
                assert answer.headers["Cache-Control"] == first.headers["Cache-Control"]
        for known in (
            {"If-None-Match": '"another"'},
            {"If-None-Match": '"another"', "If-Modified-Since": date},
            {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"},
            {"If-Modified-Since": "yesterday"},
            {"If-None-Match": "nonsense \x01"},
        ):
            answer = client.get(path, query_string=query, headers=known)
            assert (answer.status_code, answer.data) == (200, first.data), known


def test_a_head_tells_what_a_get_would_send(client: FlaskClient, query: dict[str, str]) -> None:
    whole, head = client.get(ATOM, query_string=query), client.head(ATOM, query_string=query)
    assert (head.status_code, head.data) == (200, b"")
    assert sorted(head.headers) == sorted(whole.headers)


def test_every_change_is_another_feed(app: Flask, client: FlaskClient, cast: Cast, stable: int) -> None:
    def etags() -> tuple[str, str]:
        return client.get(ATOM).headers["ETag"], client.get(JSON).headers["ETag"]

    seen = [etags()]
    with app.app_context():
        publish_release("15.2.2", Channel.STABLE, NOW + timedelta(hours=1))
    seen.append(etags())
    with app.app_context(), transaction():
        publishing.withdraw(stable, "It loses macros.", actor=None, now=NOW + timedelta(hours=2))
    seen.append(etags())
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = StableAccess.PUBLIC
    seen.append(etags())
    assert len({etag for pair in seen for etag in pair}) == 8


def test_a_public_feed_may_be_shared_and_a_private_one_only_kept(client: FlaskClient, query: dict[str, str], sign_in: SignIn) -> None:
    for reader in (client, sign_in("alice@logistics.example.org")):
        for path in (ATOM, JSON):
            headers = reader.get(path, query_string=query).headers
            assert headers["Cache-Control"] == ("private, no-cache" if query else "public, max-age=300")
            assert headers.get("X-Robots-Tag") == ("noindex" if query else None)
            assert "Set-Cookie" not in headers
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == ("no-referrer" if query else "same-origin")


def test_files_of_an_open_product_can_be_fetched_from_the_feed(app: Flask, client: FlaskClient, cast: Cast, beta: int) -> None:
    assert "attachments" not in client.get(JSON).get_data(as_text=True)
    with app.app_context(), transaction():
        find_product(cast.product).stable_access = StableAccess.PUBLIC
    parsed = feedparser.parse(client.get(ATOM).data)
    (enclosure,) = parsed.entries[0].enclosures
    assert (enclosure.type, enclosure.length) == ("application/octet-stream", str(len(CONTENT)))
    assert client.get(urlsplit(enclosure.href).path).data == CONTENT
    (attachment,) = json.loads(client.get(JSON).data)["items"][0]["attachments"]
    assert attachment == {"url": enclosure.href, "mime_type": "application/octet-stream", "size_in_bytes": len(CONTENT)}


def test_the_number_of_statements_does_not_grow(app: Flask, client: FlaskClient, query: dict[str, str]) -> None:
    def count() -> int:
        with statements(app) as seen:
            assert client.get(ATOM, query_string=query).status_code == 200
        return len(seen)

    few = count()
    with app.app_context():
        for number in range(1, 13):
            channel = Channel.BETA if number % 3 else Channel.STABLE
            release_id = publish_release(f"16.{number}{'b1' if number % 3 else ''}", channel, NOW)
            if number % 4 == 0:
                with transaction():
                    publishing.withdraw(release_id, "It loses macros.", actor=None, now=NOW)
    assert count() == few
    assert few <= (11 if query else 4)


def test_other_addresses_beside_the_feeds_are_what_they_were(client: FlaskClient, stable: int) -> None:
    assert client.get("/releases/macro-studio/feed.rss", follow_redirects=True).status_code == 404
    assert client.get("/releases/macro-studio/15.2.1/").status_code == 200
    assert client.post(ATOM).status_code in {400, 405}


def alternates(page: str) -> dict[str, str]:
    return {tag["type"]: tag["href"] for tag in (attributes(tag) for tag in re.findall(r'<link rel="alternate"[^>]*>', page))}


def attributes(tag: str) -> dict[str, Any]:
    return dict(re.findall(r'([a-z]+)="([^"]*)"', tag))


def test_programs_and_people_find_the_feeds_on_the_products_pages(client: FlaskClient, stable: int) -> None:
    for path in ("/releases/macro-studio/", "/releases/macro-studio/15.2.1/"):
        found = alternates(client.get(path).get_data(as_text=True))
        assert found == {"application/atom+xml": ATOM, "application/feed+json": JSON}
    assert re.search(f'<a [^>]*href="{ATOM}"[^>]*>.*Atom feed</a>', client.get("/releases/macro-studio/").get_data(as_text=True))
