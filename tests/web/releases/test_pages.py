"""Who may see which page, what strangers see, bad input, and how many statements a page takes."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import db, transaction
from portal.products.catalog import find_product
from portal.releases import drafts
from portal.releases.models import Channel
from tests.builds import publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements
from tests.web.releases.helpers import DRAFT, STAFF, send, upload
from tests.web.releases.test_manager_story import WORDS, make_draft

SignIn = Callable[[str], FlaskClient]
PAGES = ["/", "/new", "/macro-studio/", "/macro-studio/15.3b2/", "/macro-studio/15.3b2/edit", "/macro-studio/15.3b2/audience",
         "/macro-studio/15.3b2/mail.html", "/macro-studio/15.3b2/mail.txt", "/macro-studio/15.3b2/discard",
         "/macro-studio/15.3b2/withdraw"]  # fmt: skip
ACTS = ["/preview", "/macro-studio/15.3b2/publish", "/macro-studio/15.3b2/test", "/macro-studio/15.3b2/builds/1/remove",
        "/macro-studio/15.3b2/edit", "/macro-studio/15.3b2/discard", "/macro-studio/15.3b2/withdraw", "/new"]  # fmt: skip


def draft(version: str = "15.3b2", channel: Channel = Channel.BETA) -> None:
    with transaction():
        drafts.create_release(find_product("macro-studio"), version, channel, notes="Secret notes", actor=None, now=NOW)


@pytest.mark.parametrize(
    ("who", "status"),
    [("paula", 200), ("ada", 200), ("petra", 404), ("anton", 404), ("alice", 404), ("erin", 404), (None, 302)],
)
def test_only_release_managers_see_their_pages(app: Flask, cast: Cast, sign_in: SignIn, who: str | None, status: int) -> None:
    with app.app_context():
        draft()
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    assert {page: client.get(STAFF + page).status_code for page in PAGES} == dict.fromkeys(PAGES, status)
    if status != 200:
        answers = [send(client, STAFF + act, page="/sign-in" if who is None else "/account/security/", follow=False) for act in ACTS]
        assert {answer.status_code for answer in answers} == {status}


@pytest.mark.parametrize(("who", "status"), [("ada", 200), ("paula", 404), ("alice", 404), (None, 302)])
def test_only_administrators_see_products(app: Flask, cast: Cast, sign_in: SignIn, who: str | None, status: int) -> None:
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    for page in ("/staff/products/", "/staff/products/new", "/staff/products/macro-studio/"):
        assert client.get(page).status_code == status


def test_strangers_read_stable_releases_and_nothing_else(app: Flask, cast: Cast, client: FlaskClient) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
        publish_release("15.3b1", Channel.BETA, NOW)
        draft("15.4", Channel.STABLE)
    pages = [client.get(url).get_data(as_text=True) for url in ("/releases/", "/releases/macro-studio/")]
    for page in pages:
        assert "15.2.1" in page
        assert "15.3" not in page
        assert "15.4" not in page
    page = client.get("/releases/macro-studio/15.2.1/").get_data(as_text=True)
    assert "forty percent" in page
    assert "studio.msi" in page


@pytest.mark.parametrize("who", ["alice", "paula", None])
def test_a_beta_or_a_draft_is_not_found_like_what_never_was(app: Flask, cast: Cast, sign_in: SignIn, who: str | None) -> None:
    with app.app_context():
        publish_release("15.3b1", Channel.BETA, NOW)
        draft("15.4", Channel.STABLE)
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    never = client.get("/releases/macro-studio/9.9/")
    assert never.status_code == 404
    for version in ("15.3b1", "15.3-beta.1", "15.4", "15.4.0", "nonsense", "%00"):
        answer = client.get(f"/releases/macro-studio/{version}/")
        assert answer.status_code == 404
        if "%" not in version:
            assert answer.data == never.data


@pytest.mark.parametrize("spelling", ["v15.2.1", "15.2.1.0", "15.02.1"])
def test_a_release_has_one_address(app: Flask, cast: Cast, client: FlaskClient, spelling: str) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    answer = client.get(f"/releases/macro-studio/{spelling}/")
    assert (answer.status_code, answer.location) == (301, "/releases/macro-studio/15.2.1/")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "nonsense"}, "is no version"),
        ({"version": ""}, "Enter the version."),
        ({"version": "v15.2.1.0"}, "already a release 15.2.1"),
        ({"channel": "stable"}, "is a beta version"),
        ({"channel": "nightly"}, "Not a valid choice"),
        ({"kind": "huge"}, "Not a valid choice"),
        ({"product": "no-such"}, "Not a valid choice"),
        ({"expires_on": "31.01.2027"}, "31.01.2027"),
        ({"expires_on": "2020-01-31"}, "This day has passed"),
        ({"notes": "a\x00b my long notes"}, "control characters"),
        ({"summary": "x" * 301}, "300 is the most"),
    ],
)
def test_bad_input_is_explained_and_what_was_typed_stays(
    app: Flask, cast: Cast, sign_in: SignIn, changes: dict[str, str], message: str
) -> None:  # fmt: skip
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
    fields: dict[str, Any] = {
        "product": "macro-studio",
        "version": "15.3b2",
        "channel": "beta",
        "kind": "",
        **WORDS,
        "notes": "my long notes",
        **changes,
    }
    answer = send(sign_in(cast.paula), f"{STAFF}/new", **fields)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 400
    assert message in page
    assert "my long notes" in page


@pytest.mark.parametrize(
    "path",
    ["/no-such/", "/no-such/1.0/", "/macro-studio/9.9/", "/macro-studio/nonsense/", "/macro-studio/9.9/edit", "/macro-studio/?below=x",
     "/macro-studio/9.9/audience", "/macro-studio/9.9/mail.html", "/macro%00studio/1/", "/macro-studio/1%00/"],
)  # fmt: skip
def test_what_does_not_exist_is_not_found(cast: Cast, sign_in: SignIn, path: str) -> None:
    assert sign_in(cast.paula).get(STAFF + path).status_code == 404


def test_unknown_products_and_pages_are_not_found_by_strangers(cast: Cast, client: FlaskClient) -> None:
    for path in ("/releases/no-such/", "/releases/macro-studio/?below=x", "/releases/a%00b/"):
        assert client.get(path).status_code == 404


def test_lists_are_paged_by_version(app: Flask, cast: Cast, client: FlaskClient) -> None:
    with app.app_context():
        for minor in range(12):
            publish_release(f"15.{minor}", Channel.STABLE, NOW)
    first = client.get("/releases/macro-studio/").get_data(as_text=True)
    assert "Macro Studio 15.11" in first
    assert "Macro Studio 15.1<" not in first
    assert 'href="/releases/macro-studio/?below=15.2"' in first
    second = client.get("/releases/macro-studio/?below=15.2").get_data(as_text=True)
    assert "Macro Studio 15.1<" in second
    assert "Older" not in second


def test_no_page_takes_more_statements_when_its_lists_grow(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    make_draft(paula)
    upload(paula)
    with app.app_context():
        publish_release("14.0", Channel.STABLE, NOW)
        publish_release("14.0", Channel.STABLE, NOW, product="form-filler")
    urls = ["/releases/", "/releases/macro-studio/", "/releases/macro-studio/14.0/", f"{STAFF}/", f"{STAFF}/macro-studio/", DRAFT,
            f"{DRAFT}audience", f"{DRAFT}edit"]  # fmt: skip
    before = {url: _count(app, paula, url) for url in urls}
    with app.app_context():
        for minor in range(1, 8):
            publish_release(f"14.{minor}", Channel.STABLE, NOW, files={f"{index}.msi": b"x%d" % index for index in range(3)})
            draft(f"16.0b{minor}")
        db.session.remove()
    for index in range(3):
        upload(paula, name=f"more-{index}.msi")
    assert {url: _count(app, paula, url) for url in urls} == before


def _count(app: Flask, client: FlaskClient, url: str) -> int:
    with statements(app) as seen:
        assert client.get(url).status_code == 200
    return len(seen)
