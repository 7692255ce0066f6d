"""What somebody typed outlives their session, their form's token, and what was wrong with it."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.account import sessions
from portal.database import db, transaction
from portal.feedback import drafts, links
from portal.feedback.loop_models import Verdict
from portal.feedback.models import Comment, Item
from portal.feedback.writing_models import Attachment, Draft
from tests.board import person, release, write
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW, csrf_token
from tests.web.feedback.pages import forms, text, words

SignIn = Callable[[str], FlaskClient]
HERE = {"Origin": "http://localhost"}
LOG = b"12:01 connection lost\n"


def end_sessions(app: Flask, email: str) -> None:
    with app.app_context(), transaction():
        sessions.end_all(person(email), now=NOW)


def enter(client: FlaskClient, email: str, address: str) -> TestResponse:
    """Sign in on the page that `address` leads to."""
    page = client.get(address).get_data(as_text=True)
    filled = next(fields for fields in forms(page).values() if "email" in fields)
    return client.post("/sign-in", data={**filled, "email": email, "password": PASSWORD})


def count(app: Flask, model: type[Item | Comment | Draft | Attachment]) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


def test_new_feedback_of_somebody_signed_out_meanwhile_comes_back_after_signing_in(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    filled = forms(text(alice, "/feedback/new"))["/feedback/new"]
    end_sessions(app, cast.alice)
    typed = {"title": "Long thoughts", "body": "Of an hour's <work>.", "kind": "problem", "severity": "high", "visibility": "private"}
    led = alice.post(
        "/feedback/new", data={**filled, **typed, "files": (BytesIO(LOG), "a.log")}, content_type="multipart/form-data"
    )  # fmt: skip
    assert led.status_code == 303
    assert led.location.startswith("/sign-in?")
    assert "What you wrote is kept" in words(text(alice, led.location))
    assert count(app, Item) == 0
    back = enter(alice, cast.alice, led.location)
    assert back.location == "/feedback/new?kept=1"
    page = text(alice, back.location)
    assert "This was not sent yet." in words(page)
    again = forms(page)["/feedback/new"]
    assert {name: again[name] for name in typed} == typed
    assert "a.log" in page
    sent = alice.post("/feedback/new", data=again, content_type="multipart/form-data")
    assert sent.location == "/feedback/1/"
    shown = text(alice, "/feedback/1/")
    assert "Of an hour" in shown
    assert "a.log" in shown
    assert count(app, Draft) == 0
    assert "Long thoughts" not in text(alice, "/feedback/new?kept=1")


def test_a_comment_comes_back_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
    carol = sign_in(cast.carol)
    filled = forms(text(carol, f"/feedback/{item_id}/"))[f"/feedback/{item_id}/comments"]
    end_sessions(app, cast.carol)
    led = carol.post(f"/feedback/{item_id}/comments", data={**filled, "body": "A long comment"})
    back = enter(carol, cast.carol, led.location)
    assert back.location == f"/feedback/{item_id}/?kept=1#comments"
    page = text(carol, f"/feedback/{item_id}/?kept=1")
    again = forms(page)[f"/feedback/{item_id}/comments"]
    assert again["body"] == "A long comment"
    assert carol.post(f"/feedback/{item_id}/comments", data=again).status_code == 302
    assert count(app, Comment) == 1
    assert count(app, Draft) == 0


def test_an_edit_comes_back_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
    alice = sign_in(cast.alice)
    filled = forms(text(alice, f"/feedback/{item_id}/edit"))[f"/feedback/{item_id}/edit"]
    end_sessions(app, cast.alice)
    led = alice.post(f"/feedback/{item_id}/edit", data={**filled, "body": "Written anew"})
    back = enter(alice, cast.alice, led.location)
    assert back.location == f"/feedback/{item_id}/edit?kept=1"
    assert forms(text(alice, back.location))[f"/feedback/{item_id}/edit"]["body"] == "Written anew"


def test_what_one_person_typed_is_not_shown_to_the_next_one_at_the_same_browser(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    filled = forms(text(client, "/feedback/new"))["/feedback/new"]
    end_sessions(app, cast.alice)
    led = client.post("/feedback/new", data={**filled, "title": "Alice's secret", "body": "x"})
    back = enter(client, cast.carol, led.location)
    assert "secret" not in text(client, back.location)


def test_another_browser_sees_nothing_of_a_draft(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    filled = forms(text(client, "/feedback/new"))["/feedback/new"]
    end_sessions(app, cast.alice)
    client.post("/feedback/new", data={**filled, "title": "A secret", "body": "x"})
    assert "secret" not in text(sign_in(cast.alice), "/feedback/new?kept=1")


def test_somebody_who_was_never_known_keeps_the_text_and_is_told_of_the_files(app: Flask, cast: Cast, client: FlaskClient) -> None:
    token = csrf_token(client.get("/sign-in").get_data(as_text=True))
    led = client.post(
        "/feedback/new",
        data={"csrf_token": token, "title": "Kept", "body": "Body", "files": (BytesIO(LOG), "a.log")},
        content_type="multipart/form-data",
    )
    assert count(app, Attachment) == 0
    assert "Not kept: a.log." in words(text(client, led.location))
    back = enter(client, cast.alice, led.location)
    assert forms(text(client, back.location))["/feedback/new"]["title"] == "Kept"


def test_another_site_leaves_no_draft(app: Flask, cast: Cast, client: FlaskClient) -> None:
    for origin in ("https://evil.example.org", "null", "http://localhost.evil.example.org"):
        refused = client.post("/feedback/new", data={"title": "Not mine", "body": "x"}, headers={"Origin": origin})
        assert refused.status_code == 400
    assert count(app, Draft) == 0


def test_a_form_whose_token_is_gone_comes_back_with_its_text_and_does_nothing(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
    alice = sign_in(cast.alice)
    for address, typed in (
        ("/feedback/new", {"title": "A title to keep", "body": "A description to keep"}),
        (f"/feedback/{item_id}/comments", {"body": "A comment to keep"}),
        (f"/feedback/{item_id}/edit", {"title": "Another title", "body": "Another body", "number": "1"}),
    ):
        answer = alice.post(address, data={**typed, "csrf_token": "old"}, headers=HERE)
        page = answer.get_data(as_text=True)
        assert answer.status_code == 400, address
        again = forms(page)[address]
        assert {name: again[name] for name in typed} == typed
        assert "This page was open for too long. Send the form again." in words(page)
        assert alice.post(address, data=again).status_code == 302
    assert (count(app, Item), count(app, Comment)) == (2, 1)


def test_signed_out_with_the_cookies_gone_the_text_is_kept_for_a_page_of_ours(app: Flask, cast: Cast, client: FlaskClient) -> None:
    led = client.post("/feedback/new", data={"title": "Kept", "body": "After a restart of the browser"}, headers=HERE)
    assert led.status_code == 303
    back = enter(client, cast.alice, led.location)
    assert forms(text(client, back.location))["/feedback/new"]["body"] == "After a restart of the browser"


@pytest.mark.usefixtures("cast")
def test_drafts_are_bounded_in_number_size_and_age(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal.feedback.writing_models import DraftPurpose

    monkeypatch.setattr(drafts, "MOST_OF_STRANGERS", 3)
    with app.app_context():
        for number in range(5):
            with transaction():
                drafts.keep(DraftPurpose.ITEM, None, {"title": str(number), "body": "x" * 200_000}, None, now=NOW + timedelta(hours=number))
        kept = db.session.scalars(sa.select(Draft).order_by(Draft.id)).all()
        assert [draft.fields["title"] for draft in kept] == ["2", "3", "4"]
        assert all(sum(map(len, draft.fields.values())) <= drafts.MOST_CHARACTERS for draft in kept)
        with transaction():
            assert drafts.sweep(NOW + drafts.KEPT_FOR + timedelta(hours=3)) == 2
    assert count(app, Draft) == 1


def test_one_address_leaves_so_many_drafts_and_no_more(
    app: Flask, cast: Cast, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limits import parse

    from portal.feedback import keeping_views

    monkeypatch.setattr(keeping_views, "STRANGERS_LIMIT", parse("2 per hour"))
    monkeypatch.setattr(keeping_views, "_SCOPE", "this test alone")
    codes = [client.post("/feedback/new", data={"title": "x", "body": "y"}, headers=HERE).status_code for _ in range(3)]
    assert codes == [303, 303, 429]
    assert count(app, Draft) == 2


def test_a_staff_answer_and_a_verdict_wait_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
        beta = release("15.3b2")
        with transaction():
            links.link(item_id, beta, actor=person(cast.petra), now=NOW)
    answer_form, verdict_form = f"/staff/feedback/{item_id}/answer", "/feedback/verdicts/macro-studio/15.3b2/"
    answer = {"response": "A long and careful answer."}
    verdict = {f"words-{item_id}": "It works with our largest table.", f"answer-{item_id}": "yes"}
    for email, page, form, typed in (
        (cast.petra, f"/staff/feedback/{item_id}/", answer_form, answer),
        (cast.alice, verdict_form, verdict_form, verdict),
    ):
        client = sign_in(email)
        filled = forms(text(client, page))[form]
        end_sessions(app, email)
        led = client.post(form, data={**filled, **typed})
        back = enter(client, email, led.location)
        assert back.location == "/feedback/kept/"
        again = forms(text(client, back.location))[form]
        assert {name: again[name] for name in typed} == typed
        assert client.post(form, data=again).status_code in {302, 303}
    assert "A long and careful answer." in text(sign_in(cast.bob), f"/feedback/{item_id}/")
    with app.app_context():
        assert db.session.scalars(sa.select(Verdict.words)).all() == ["It works with our largest table."]


def test_nothing_waits_where_nothing_was_typed_and_nobody_else_sees_what_was(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
    petra = sign_in(cast.petra)
    answer_form = f"/staff/feedback/{item_id}/answer"
    filled = forms(text(petra, f"/staff/feedback/{item_id}/"))[answer_form]
    end_sessions(app, cast.petra)
    petra.post(answer_form, data=filled)
    assert count(app, Draft) == 0
    petra.post(answer_form, data={**filled, "response": "A long and careful answer."})
    assert count(app, Draft) == 1
    enter(petra, cast.ada, "/sign-in")
    assert "Nothing waits to be sent" in text(petra, "/feedback/kept/")
