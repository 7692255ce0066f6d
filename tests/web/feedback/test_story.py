"""From an idea to its answer, by the real forms: two organisations, the product team, and the mails."""

from collections.abc import Callable

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.database import db
from portal.notices.models import Delivery, Notice
from tests.board import release
from tests.cast import Cast
from tests.web.feedback.pages import forms, send, text, words

SignIn = Callable[[str], FlaskClient]


def outbox(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        rows = sa.select(Notice.kind, Delivery.address).join(Delivery, Delivery.notice_id == Notice.id)
        return [(kind, address) for kind, address in db.session.execute(rows.order_by(Delivery.id)) if kind.startswith("feedback")]


def test_from_an_idea_on_the_beta_to_its_answer(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        release("15.3b2")
    alice, bob, carol, petra = (sign_in(email) for email in (cast.alice, cast.bob, cast.carol, cast.petra))

    answer = send(
        alice, "/feedback/new?product=macro-studio&version=15.3b2&kind=problem", "/feedback/new",
        title="The tray icon vanishes", body="After **two** pauses.", severity="high",
    )  # fmt: skip
    assert (answer.status_code, answer.location) == (302, "/feedback/1/")
    page = text(alice, "/feedback/1/")
    assert "<strong>two</strong>" in page
    assert "1 contract voted" in words(page)
    assert "High severity" in words(page)
    assert "Macro Studio 15.3 beta\u00a02" in words(page) or "Macro Studio 15.3 beta 2" in words(page)

    # The colleague is the same contract; another organisation is another vote.
    assert 'aria-pressed="true"' in text(bob, "/feedback/1/")
    assert send(carol, "/feedback/", "/feedback/1/vote").location == "/feedback/#item-1"
    assert "2 contracts voted" in words(text(carol, "/feedback/1/"))
    assert "Alice Example voted on" in words(text(bob, "/feedback/1/"))
    assert "Alice" not in text(carol, "/feedback/1/")

    assert send(bob, "/feedback/1/", "/feedback/1/comments", body="On my machine too.").status_code == 302
    assert send(carol, "/feedback/1/", "/feedback/1/comments", body="And here.").status_code == 302
    seen = words(text(carol, "/feedback/1/"))
    assert "A contact at Example Logistics" in seen
    assert "Carol Example, Example Foods (you)" in seen
    assert "Bob" not in seen

    inbox = text(petra, "/staff/feedback/")
    assert "1 entry waits unread" in words(inbox)
    assert "USD\u00a0990" in inbox
    answer = send(
        petra, "/staff/feedback/1/", "/staff/feedback/1/answer", status="planned", version="15.3", response="We found it. Thank you."
    )
    assert answer.location == "/staff/feedback/1/"
    assert "Everything is read." in words(text(petra, "/staff/feedback/"))

    for reader in (alice, carol):
        seen = words(text(reader, "/feedback/1/"))
        assert "Planned for 15.3" in seen
        assert "Official response" in seen
        assert "We found it. Thank you." in seen
    assert "Planned 1" in words(text(alice, "/feedback/"))
    first = ("feedback_update", cast.alice)
    # At once one mail of the first comment and one of the news, which does not wait for it; what follows within the hour waits.
    assert outbox(app)[0] == first
    assert outbox(app).count(first) == 2

    assert send(bob, "/feedback/1/", "/feedback/1/vote").location == "/feedback/1/"
    assert "1 contract voted" in words(text(alice, "/feedback/1/"))


def test_two_editors_of_one_item(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice, petra, ada = (sign_in(email) for email in (cast.alice, cast.petra, cast.ada))
    send(alice, "/feedback/new", "/feedback/new", title="Pause", body="Please.")
    stale = forms(text(ada, "/staff/feedback/1/"))["/staff/feedback/1/answer"]
    send(petra, "/staff/feedback/1/", "/staff/feedback/1/answer", status="declined", reason="Too risky.")
    answer = ada.post("/staff/feedback/1/answer", data={**stale, "status": "planned", "response": "Ada's long text"})
    assert answer.status_code == 409
    page = answer.get_data(as_text=True)
    assert "Somebody else saved this while you were writing." in words(page)
    assert "Ada&#39;s long text</textarea>" in page
    assert "Too risky." in words(page)
    assert "Not planned" in words(text(alice, "/feedback/1/"))
    again = forms(page)["/staff/feedback/1/answer"]
    assert ada.post("/staff/feedback/1/answer", data=again).status_code == 302
    assert "Planned" in words(text(alice, "/feedback/1/"))
