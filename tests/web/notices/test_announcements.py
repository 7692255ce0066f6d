"""A publisher's way from nothing to an announcement that is sent, by the real forms."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import people
from portal.database import db, transaction
from portal.notices import announcements, subscriptions
from portal.notices.models import Announcement, Delivery, Notice, Topic
from portal.products.catalog import find_product
from tests.announcements import make_draft, send, words
from tests.builds import find_user
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.statements import statements

SignIn = Callable[[str], FlaskClient]
HERE = "/staff/notices/announcements"
TYPED: dict[str, Any] = {
    "product": "macro-studio",
    "audience": "contacts",
    "topic": "always",
    "subject": "A hole is closed",
    "body": "Install **15.2.1**.",
}
PAGES = ["/", "/new", "/1/", "/1/edit", "/1/mail.html", "/1/mail.txt", "/1/audience", "/1/send", "/1/discard"]
ACTS = ["/new", "/preview", "/1/edit", "/1/test", "/1/send", "/1/discard"]


def post(
    client: FlaskClient, path: str, *, page: str = "/staff/notices/announcements/new", follow: bool = True, **data: Any
) -> TestResponse:
    """Send a form with `data`, with the token of the form on `page`."""
    token = csrf_token(client.get(page).text)
    assert token, f"{page} has no form"
    return client.post(HERE + path, data={**data, "csrf_token": token}, follow_redirects=follow)


def draft(app: Flask, *audience_and_topic: Any, **said: Any) -> int:
    with app.app_context():
        return make_draft(*audience_and_topic, **said)


def stored(app: Flask) -> list[Announcement]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Announcement)))


def mailed(app: Flask) -> list[str]:
    with app.app_context():
        return sorted(db.session.scalars(sa.select(Delivery.address)))


@pytest.mark.parametrize(
    ("who", "status"), [("paula", 200), ("ada", 200), ("petra", 404), ("anton", 404), ("alice", 404), ("erin", 404), (None, 302)]
)
def test_only_publishers_see_and_send_announcements(app: Flask, cast: Cast, sign_in: SignIn, who: str | None, status: int) -> None:
    assert draft(app) == 1
    client = sign_in(getattr(cast, who)) if who else app.test_client()
    assert {page: client.get(HERE + page).status_code for page in PAGES} == dict.fromkeys(PAGES, status)
    if status != 200:
        page = "/account/security/" if who else "/sign-in"
        assert {post(client, act, page=page, follow=False, **TYPED, revision="1").status_code for act in ACTS} == {status}
        assert len(stored(app)) == 1
        assert mailed(app) == []


def test_from_nothing_to_mails_in_the_outbox(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    assert "Nothing sent yet" in paula.get(f"{HERE}/").text
    page = post(paula, "/new", **TYPED).text
    assert "The draft is saved." in page
    assert "4 match: 3 will get it, 1 will not." in page
    assert "<dd>contract ended</dd>" in page
    assert "cannot be switched off" in page
    assert mailed(app) == []

    people = paula.get(f"{HERE}/1/audience").text
    assert cast.alice in people
    assert "No: contract ended" in people

    link = re.search(r'href="([^"]*/send\?revision=1)"', page)
    assert link is not None
    page = paula.get(link[1]).text
    assert "Send to 3 people" in page
    page = post(paula, "/1/send", page=link[1], revision="1").text
    assert "The announcement is on its way to 3 people." in page
    assert mailed(app) == [cast.alice, cast.bob, cast.carol]

    assert "/staff/notices/1/" in page
    assert "Of 3: 3 queued" in page
    assert f"{HERE}/1/edit" not in page
    assert "A hole is closed" in paula.get("/staff/notices/1/").text
    assert "A hole is closed" in paula.get(f"{HERE}/").text


def test_the_mail_is_shown_as_it_will_go_out_and_a_test_goes_to_the_publisher_alone(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app, body="# Do this\n\nInstall <b>it</b>")
    html = paula.get(f"{HERE}/1/mail.html")
    assert "Do this" in html.text
    assert "<b>it" not in html.text
    assert "sandbox" in html.headers["Content-Security-Policy"]
    text = paula.get(f"{HERE}/1/mail.txt")
    assert text.mimetype == "text/plain"
    assert text.text.startswith("Subject: A hole is closed\n\nA HOLE IS CLOSED\n")
    assert f"A test is on its way to {cast.paula}" in post(paula, "/1/test").text
    assert mailed(app) == [cast.paula]


def test_bad_input_comes_back_with_everything_typed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    answer = post(paula, "/new", **{**TYPED, "subject": "", "body": "my long text", "topic": "point"})
    assert answer.status_code == 400
    assert "Enter the subject." in answer.text
    assert "my long text" in answer.text
    checked = re.findall(r"<input[^>]* checked [^>]*>", answer.text)
    assert [re.findall(r'value="(\w+)"', one) for one in checked] == [["contacts"], ["point"]]
    for field, bad in (
        ("subject", "x" * 200),
        ("body", "x" * 30_000),
        ("subject", "a\u202eb"),
        ("audience", "everybody"),
        ("topic", "feedback"),
        ("product", "nope"),
    ):
        answer = post(paula, "/new", **{**TYPED, field: bad})
        assert (answer.status_code, 'aria-invalid="true"' in answer.text or "field-error" in answer.text) == (400, True), field
        assert "Install **15.2.1**." in answer.text or field == "body"
    assert "Choose a topic" in post(paula, "/new", **{**TYPED, "audience": "subscribers"}).text
    for missing in ("product", "audience", "topic", "subject", "body"):
        left = {name: value for name, value in TYPED.items() if name != missing}
        assert post(paula, "/new", **left).status_code == 400, missing
    assert stored(app) == []


def test_the_second_editor_is_told_and_keeps_what_was_typed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula, here = sign_in(cast.paula), draft(app)
    assert 'name="revision" type="hidden" value="1"' in paula.get(f"{HERE}/{here}/edit").text
    assert post(paula, "/1/edit", follow=False, **{**TYPED, "body": "first"}, revision="1").status_code == 303
    answer = post(paula, "/1/edit", **{**TYPED, "body": "my long text"}, revision="1")
    assert answer.status_code == 409
    assert "Somebody else saved this while you were writing." in answer.text
    assert "my long text" in answer.text
    assert "<p>first</p>" in answer.text
    assert 'name="revision" type="hidden" value="2"' in answer.text
    assert post(paula, "/1/edit", follow=False, **{**TYPED, "body": "both"}, revision="2").status_code == 303
    assert [one.body for one in stored(app)] == ["both"]


def test_who_edits_what_was_sent_or_discarded_meanwhile_keeps_what_was_typed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app)
    with app.app_context():
        send(1)
    assert paula.get(f"{HERE}/1/edit").status_code == 303
    answer = post(paula, "/1/edit", **{**TYPED, "body": "my long text"}, revision="1")
    assert answer.status_code == 409
    assert "was sent already" in answer.text
    assert "my long text" in answer.text
    answer = post(paula, "/77/edit", **{**TYPED, "body": "my long text"}, revision="1")
    assert answer.status_code == 400
    assert "Somebody discarded this draft" in answer.text
    assert "my long text" in answer.text
    assert f'action="{HERE}/new"' in answer.text


def test_what_changed_after_it_was_looked_at_is_not_sent(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app)
    with app.app_context(), transaction():
        announcements.edit(1, words(subject="Changed"), revision=1, actor=None, now=NOW)
    assert "Somebody changed this announcement" in paula.get(f"{HERE}/1/send?revision=1", follow_redirects=True).text
    answer = post(paula, "/1/send", revision="1")
    assert "Nothing was sent; look at it again first." in answer.text
    for nonsense in ("", "x", "²", "9" * 40):
        post(paula, "/1/send", revision=nonsense)
        assert paula.get(f"{HERE}/1/send", query_string={"revision": nonsense}).status_code in {200, 303}
    assert mailed(app) == []


def test_a_second_click_is_told_kindly_and_mails_nobody(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app)
    post(paula, "/1/send", revision="1")
    answer = post(paula, "/1/send", revision="1")
    assert answer.status_code == 200
    assert "was sent already" in answer.text
    assert 'role="alert"' not in answer.text
    assert "was sent already" in paula.get(f"{HERE}/1/send", follow_redirects=True).text
    assert mailed(app) == [cast.alice, cast.bob, cast.carol]


def test_two_clicks_at_once_make_one_notice(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    draft(app)
    clients = [sign_in(cast.paula), sign_in(cast.ada)]
    tokens = [csrf_token(client.get(f"{HERE}/1/send").text) for client in clients]
    together, answers = threading.Barrier(2), []

    def press(client: FlaskClient, token: str) -> None:
        together.wait()
        answers.append(client.post(f"{HERE}/1/send", data={"revision": "1", "csrf_token": token}).status_code)

    threads = [threading.Thread(target=press, args=pair) for pair in zip(clients, tokens, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [303, 303]
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 1
    assert mailed(app) == [cast.alice, cast.bob, cast.carol]


def test_a_form_without_its_token_sends_nothing(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app)
    for act in ACTS:
        assert paula.post(HERE + act, data={**TYPED, "revision": "1"}).status_code == 400
    assert mailed(app) == []
    assert len(stored(app)) == 1


def test_an_audience_of_nobody_is_said_before_and_can_be_sent_all_the_same(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app, "downloaders")
    assert "Nobody will get a mail" in paula.get(f"{HERE}/1/").text
    asked = paula.get(f"{HERE}/1/send").text
    assert "Nobody will get a mail" in asked
    assert "Send to nobody" in asked
    assert "aria-disabled" not in asked
    assert "There is nobody in this audience" in paula.get(f"{HERE}/1/audience").text
    page = post(paula, "/1/send", revision="1").text
    assert "It concerned nobody, so nobody is mailed." in page
    assert "Nobody matched when it was made, so nobody is mailed." in page
    assert mailed(app) == []


def test_a_draft_is_discarded_after_asking(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    draft(app)
    assert "removed for good" in paula.get(f"{HERE}/1/discard").text
    assert "is discarded" in post(paula, "/1/discard").text
    assert paula.get(f"{HERE}/1/").status_code == 404
    assert paula.get(f"{HERE}/{10**30}/").status_code == 404
    other = draft(app)
    assert other != 1, "a page still open on the first draft would meet the other one"
    with app.app_context():
        send(other)
    assert paula.get(f"{HERE}/{other}/discard").status_code == 303
    assert post(paula, f"/{other}/discard").status_code == 409
    assert len(stored(app)) == 1


def test_the_preview_works_with_and_without_javascript(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    part = post(paula, "/preview", body="**bold** <b>raw</b>").text
    assert "<strong>bold</strong>" in part
    assert "<b>raw" not in part
    page = post(paula, "/new", preview="1", **{**TYPED, "body": "**bold**", "subject": "Kept"})
    assert page.status_code == 200
    assert "<strong>bold</strong>" in page.text
    assert 'value="Kept"' in page.text
    assert stored(app) == []


def test_lists_are_paged_and_cost_the_same_however_long(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    with app.app_context():
        send(make_draft(subject="Number 0"))

    def cost(path: str) -> int:
        paula.get(path)
        with statements(app) as seen:
            assert paula.get(path).status_code == 200
        return len(seen)

    few = [cost(f"{HERE}/"), cost(f"{HERE}/1/")]
    with app.app_context():
        for number in range(1, 54):
            send(make_draft(subject=f"Number {number}"))
    assert [cost(f"{HERE}/"), cost(f"{HERE}/1/")] == few
    first = paula.get(f"{HERE}/").text
    assert "Number 53" in first
    assert "Number 3<" not in first
    older = re.search(r'href="([^"]*before=\d+)"', first)
    assert older is not None
    assert "Number 3<" in paula.get(older[1]).text
    assert paula.get(f"{HERE}/?before=nonsense").status_code == 200


def test_the_people_of_an_audience_are_paged(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    paula = sign_in(cast.paula)
    with app.app_context(), transaction():
        organization, product = find_user(cast.erin).organization, find_product(cast.product)
        for number in range(60):
            person = people.find_or_add_person(f"reader{number:02}@press.example.org", "", organization, now=NOW)
            subscriptions.start(person.id, product.id, [Topic.MINOR], now=NOW)
    draft(app, "subscribers", Topic.MINOR)
    first = paula.get(f"{HERE}/1/audience").text
    assert first.count("reader") >= 50
    further = re.search(r'href="([^"]*after=[^"]*)"', first)
    assert further is not None
    assert "reader59@press.example.org" in paula.get(further[1].replace("&amp;", "&")).text
    assert paula.get(f"{HERE}/1/audience?after=%00").status_code == 200
