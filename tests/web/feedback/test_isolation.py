"""What one organisation keeps private shows nowhere to another: not by list, search, similar, count, feed, mail, export or file.

The pages of everybody else are read before there is anything private and again when there is a lot; they must be the same.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.account import access_tokens
from portal.account.models import TokenPurpose
from portal.config import Settings
from portal.database import db, transaction
from portal.feedback import attachments, edits, links, verdicts
from portal.feedback.loop_models import Answer
from portal.feedback.models import ItemKind, Severity, Status, Visibility
from portal.notices.delivery import deliver_due
from portal.products.catalog import find_product
from portal.releases import builds, drafts, publishing
from portal.releases.models import Channel
from portal.storage import store
from tests.board import answer, comment, merge, person, release, viewer, vote, write
from tests.builds import find_seat, publish_release
from tests.cast import Cast
from tests.conftest import NOW, csrf_token, make_settings
from tests.smtp import MailServer
from tests.web.feedback.pages import text

SignIn = Callable[[str], FlaskClient]
WORD = "zebrafink"
OTHERS = ("carol", "dave", "erin", "frank")
ADDRESSES = [
    "/", "/feedback/", "/feedback/roadmap/", "/feedback/following/", "/beta/", "/beta/macro-studio/15.3b2/", "/releases/",
    "/releases/macro-studio/", "/releases/macro-studio/15.2.1/", "/releases/macro-studio/feed.atom", "/releases/macro-studio/feed.json",
    "/feedback/verdicts/macro-studio/15.3b2/", "/feedback/new", f"/feedback/new?title={WORD}", "/feedback/1/", "/feedback/1/history",
    *(f"/feedback/?q={word}" for word in (WORD, "zebra", "report")),
    *(f"/feedback/?sort={sort}" for sort in ("contracts", "newest", "answered", "changed")),
    *(f"/feedback/?show={show}" for show in ("all", "mine", "organisation", "voted")),
    *(f"/feedback/?status={status}" for status in Status), *(f"/feedback/?kind={kind}" for kind in ItemKind),
    "/feedback/?beta=15.3b2", "/feedback/?product=macro-studio", "/account/data/", "/account/notices/",
]  # fmt: skip
FEW = ["/", "/feedback/", f"/feedback/?q={WORD}", "/feedback/?sort=answered", "/feedback/roadmap/", "/feedback/1/"]


@pytest.fixture
def settings(tmp_path: Path, database_url: str, mail_server: MailServer) -> Settings:
    return make_settings(tmp_path, database_url, smtp_url=mail_server.url)


def plain(page: str) -> str:
    """A page without what differs each time it is made."""
    return re.sub(r'value="[^"]{40,}"|\d\d:\d\d(:\d\d)?(\.\d+)?', "", page)


def read_all(app: Flask, clients: dict[str, FlaskClient], feed_token: str) -> dict[tuple[str, str], str]:
    pages = {}
    for name, client in clients.items():
        for address in ADDRESSES if name == "carol" else FEW:
            pages[name, address] = plain(client.get(address).get_data(as_text=True))
        token = csrf_token(client.get("/releases/").get_data(as_text=True))
        for typed in ({"title": WORD}, {"title": "Pause a macro", "body": WORD}):
            found = client.post("/feedback/similar", data={"csrf_token": token, "product": "macro-studio", **typed})
            pages[name, f"similar {typed}"] = found.get_data(as_text=True)
    for form in ("atom", "json"):
        feed = app.test_client().get(f"/releases/macro-studio/feed.{form}?token={feed_token}")
        pages["carol's reader", form] = feed.get_data(as_text=True)
    return pages


def write_in_private(cast: Cast, beta: int, public: int) -> list[int]:
    """Everything that can happen to private items, with the word in every text; return their ids."""
    private: dict[str, Any] = {"visibility": Visibility.PRIVATE, "body": f"All of the {WORD} report"}
    first = write(cast.alice, f"The {WORD} report", **private)
    about_beta = write(cast.alice, f"{WORD} crash", version="15.3b2", kind=ItemKind.PROBLEM, severity=Severity.HIGH, **private)
    merged = write(cast.alice, f"{WORD} again", **private)
    for item_id in (first, about_beta, merged):
        comment(cast.bob, item_id, f"{WORD} comment")
        with transaction():
            stored = store().write([f"{WORD} log".encode()], 100)
            attachments.add([attachments.Arrived(f"{WORD}.log", stored)], person(cast.alice), item_id=item_id, now=NOW)
    with transaction():
        edits.edit(viewer(cast.alice), first, title=f"The {WORD} report 2", body=f"{WORD} {WORD}", number=1, now=NOW)
        links.link(about_beta, beta, actor=person(cast.petra), now=NOW)
    answer(first, Status.DECLINED, reason=f"{WORD} reason", response=f"{WORD} response")
    merge(merged, public)
    return [first, about_beta, merged]


def test_what_is_private_changes_no_page_of_anybody_else(app: Flask, cast: Cast, sign_in: SignIn, mail_server: MailServer) -> None:
    with app.app_context():
        publish_release("15.2.1", Channel.STABLE, NOW)
        beta = release("15.3b2")
        public = write(cast.carol, "Pause a macro", version="")
        with transaction():
            seat = find_seat(cast.carol)
            token = access_tokens.create(seat.id, "reader", purpose=TokenPurpose.FEED, actor=seat.user, now=NOW)
        vote(cast.alice, public)  # which merging would bring
        db.session.remove()
    clients = {name: sign_in(getattr(cast, name)) for name in OTHERS}
    before = read_all(app, clients, token)
    with app.app_context():
        private = write_in_private(cast, beta, public)
        db.session.remove()
    after = read_all(app, clients, token)
    for page, said in before.items():
        assert after[page] == said, page

    pages = ("", "edit", "history", f"attachments/1/{WORD}.log", f"attachments/2/{WORD}.log", f"attachments/3/{WORD}.log")
    for name, client in clients.items():
        for item_id in private:
            for part in pages:
                got = client.get(f"/feedback/{item_id}/{part}")
                assert got.status_code in {403, 404}, (name, item_id, part)
                assert WORD not in got.get_data(as_text=True)
        for address in ("/staff/feedback/", "/staff/feedback/export.csv", "/staff/feedback/export.json", "/staff/api/feedback.csv"):
            assert client.get(address).status_code in {401, 404}, address
    assert WORD in text(sign_in(cast.bob), "/feedback/?q=zebra")
    assert WORD in text(sign_in(cast.petra), f"/feedback/{private[0]}/")

    with app.app_context():
        with transaction():
            final = drafts.create_release(find_product(cast.product), "15.3", Channel.STABLE, notes="Out", actor=None, now=NOW)
            builds.add_build(final.id, "studio.msi", store().write([b"x"], 10), actor=None, now=NOW)
            links.link(private[1], final.id, actor=person(cast.petra), now=NOW)
            publishing.publish_release(final.id, actor=None, now=NOW)
        deliver_due()
        db.session.remove()
    told = {recipient for mail in mail_server.accepted if WORD in str(mail.message) for recipient in mail.recipients}
    assert cast.alice in told
    own = {cast.alice, cast.bob, cast.petra, cast.ada, cast.paula, cast.anton}
    assert told <= own
    assert cast.carol in mail_server.recipients()


def test_what_is_said_about_a_beta_changes_no_page_of_the_lapsed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    """Beyond that an item is planned: that one may know."""
    with app.app_context():
        beta = release("15.3b2")
        public = write(cast.carol, "Pause a macro")
        answer(public, Status.PLANNED)
        db.session.remove()
    dave = sign_in(cast.dave)
    addresses = [*FEW, "/feedback/?sort=newest", "/feedback/?sort=changed", "/feedback/?beta=15.3b2", "/feedback/?status=in_beta"]
    text(dave, "/")
    before = {address: plain(text(dave, address)) for address in addresses}
    assert "Pause a macro" in before["/feedback/"]
    with app.app_context():
        write(cast.alice, f"{WORD} crash", version="15.3b2")
        with transaction():
            links.link(public, beta, actor=person(cast.petra), now=NOW)
        answer(public, Status.IN_BETA, release_id=beta, reason=f"{WORD} reason", response=f"{WORD} response")
        comment(cast.carol, public, f"{WORD} comment")
        with transaction():
            verdicts.give(viewer(cast.carol), public, beta, answer=Answer.YES, words=f"{WORD} words", now=NOW)
        db.session.remove()
    for address, said in before.items():
        now = plain(text(dave, address))
        if address != "/feedback/1/":
            assert now == said, address
            continue
        assert "What was said about a beta is left out." in now
        for word in (WORD, "15.3b2", "beta\u00a02"):
            assert word not in now
