"""Writing by the real forms: what is filled in, what is similar, a vote instead of a copy, previews and editions."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.database import transaction
from portal.feedback import edits
from portal.feedback.models import Status, Visibility
from portal.releases import downloads
from portal.releases.models import Channel
from portal.web.ranges import Span
from tests.board import answer, release, viewer, vote, write
from tests.builds import find_user, only_build, publish_release
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.web.feedback.pages import forms, send, text, words

SignIn = Callable[[str], FlaskClient]
NEW = "/feedback/new"


def similar(client: FlaskClient, **typed: str) -> str:
    token = csrf_token(text(client, NEW))
    answered = client.post("/feedback/similar", data={"csrf_token": token, "product": "macro-studio", **typed})
    assert answered.status_code == 200
    return answered.get_data(as_text=True)


def test_the_version_is_the_one_downloaded_last(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        publish_release("15.3b2", Channel.BETA, NOW)
        release("15.3b1")
        with transaction():
            downloads.record(only_build().id, find_user(cast.alice).id, None, Span(0, 1), NOW)
    alice = sign_in(cast.alice)
    assert forms(text(alice, NEW))[NEW]["version"] == "15.3b2"
    assert forms(text(alice, f"{NEW}?version=15.3b1"))[NEW]["version"] == "15.3b1"
    assert forms(text(sign_in(cast.bob), NEW))[NEW]["version"] == ""


def test_what_is_similar_comes_up_for_whoever_may_see_it(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.carol, "Pause a running macro from the tray")
        write(cast.carol, "Pause in private", visibility=Visibility.PRIVATE)
    alice, carol = sign_in(cast.alice), sign_in(cast.carol)
    found = similar(alice, title="pause")
    assert "1 entry looks similar" in words(f"<main>{found}</main>")
    assert "private" not in found
    assert "Vote for this instead: Pause a running macro from the tray" in found
    assert "Pause in private" in similar(carol, title="pause")
    for typed in ({"title": ""}, {"title": "nothing like it"}, {"title": "pause", "product": "form-filler"}, {"title": "%_'\"*()\0"}):
        assert similar(alice, **typed).strip() == ""


def test_without_scripts_it_stands_in_the_preview_and_beside_what_was_wrong(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        write(cast.carol, "Pause a running macro from the tray")
    alice = sign_in(cast.alice)
    for typed in ({"body": "From the **tray**", "preview": "1"}, {"body": ""}):
        page = send(alice, NEW, NEW, title="Pause macros", **typed).get_data(as_text=True)
        assert "1 entry looks similar" in words(page)
        assert forms(page)[NEW]["title"] == "Pause macros"
    assert "1 entry looks similar" in words(text(alice, f"{NEW}?title=pause"))


def test_a_vote_for_one_instead_is_one_press_and_what_was_typed_waits_there_as_a_comment(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.carol, "Pause a running macro from the tray")
    alice = sign_in(cast.alice)
    led = send(alice, NEW, NEW, title="Pause", body="We need it four times a day.", vote_for=str(item_id))
    assert led.location == f"/feedback/{item_id}/?kept=1#comments"
    page = text(alice, led.location)
    assert "2 contracts voted" in words(page)
    waiting = forms(page)[f"/feedback/{item_id}/comments"]
    assert waiting["body"] == "We need it four times a day."
    assert "four times a day" not in text(sign_in(cast.carol), f"/feedback/{item_id}/")
    assert alice.post(f"/feedback/{item_id}/comments", data=waiting).status_code == 302
    assert "four times a day" in text(sign_in(cast.carol), f"/feedback/{item_id}/")
    assert "1 entries" not in words(text(alice, "/feedback/"))
    assert send(alice, NEW, NEW, title="Pause", body="", vote_for=str(item_id)).location == f"/feedback/{item_id}/"


def test_no_vote_goes_to_what_the_voter_cannot_see(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.carol, "Pause in private", visibility=Visibility.PRIVATE)
    alice = sign_in(cast.alice)
    assert send(alice, NEW, NEW, title="Pause", body="x", vote_for=str(item_id)).status_code == 404
    assert "1 contract voted" in words(text(sign_in(cast.carol), f"/feedback/{item_id}/"))


def test_a_preview_is_what_readers_get_and_saves_nothing(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice)
    alice = sign_in(cast.alice)
    for page, form in ((NEW, NEW), (f"/feedback/{item_id}/", f"/feedback/{item_id}/comments"), (f"/feedback/{item_id}/edit",) * 2):
        typed = {"body": "It is **bold** <script>alert(1)</script>", "preview": "1"}
        shown = send(alice, page, form, **typed).get_data(as_text=True)
        assert "It is <strong>bold</strong> &lt;script&gt;alert(1)&lt;/script&gt;" in shown, page
    token = csrf_token(text(alice, NEW))
    fragment = alice.post("/feedback/preview", data={"csrf_token": token, "body": "It is **bold**"}).get_data(as_text=True)
    assert fragment.strip() == "<p>It is <strong>bold</strong></p>"
    assert "1 entry" in words(text(alice, "/feedback/"))
    assert "No comments yet." in words(text(alice, f"/feedback/{item_id}/"))


def test_two_editors_of_one_text(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice, "Pause")
    alice, petra, carol = (sign_in(email) for email in (cast.alice, cast.petra, cast.carol))
    edit = f"/feedback/{item_id}/edit"
    stale = forms(text(petra, edit))[edit]
    assert send(alice, edit, edit, title="Pause a macro").location == f"/feedback/{item_id}/"
    refused = petra.post(edit, data={**stale, "title": "A long title of staff"})
    page = refused.get_data(as_text=True)
    assert refused.status_code == 409
    assert "Somebody else changed it in the meantime. Nothing of theirs was overwritten" in words(page)
    assert "Pause a macro" in words(page)
    again = forms(page)[edit]
    assert again["title"] == "A long title of staff"
    assert petra.post(edit, data=again).status_code == 302
    seen = words(text(carol, f"/feedback/{item_id}/history"))
    for part in ("Product team", "A contact at Example Logistics", "As it was written", "Edition 3, as it reads now"):
        assert part in seen
    assert "Petra" not in seen
    assert "Alice" not in seen
    assert "changed on" in words(text(carol, f"/feedback/{item_id}/"))


@pytest.mark.parametrize(
    ("who", "code"),
    [
        ("alice", 200),
        ("bob", 200),
        ("carol", 200),
        ("dave", 200),
        ("erin", 404),
        ("frank", 404),
        ("petra", 200),
        ("paula", 404),
        ("anton", 404),
    ],
)
def test_who_comes_to_the_page_of_changes_and_who_can_save_there(app: Flask, cast: Cast, sign_in: SignIn, who: str, code: int) -> None:
    with app.app_context():
        item_id = write(cast.alice, "Pause")
    client = sign_in(getattr(cast, who))
    edit = f"/feedback/{item_id}/edit"
    page = text(client, edit, code)
    may = who in {"alice", "petra"}
    assert ("Save this edition" in page and "This can no longer be changed" not in page) == may
    token = csrf_token(text(client, "/releases/"))
    client.post(edit, data={"csrf_token": token, "title": "Taken over", "body": "x", "number": "1"})
    with app.app_context():
        assert edits.current_number(item_id) == (2 if may else 1)


def test_who_cannot_save_learns_no_name_from_an_edition_in_between(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice, "Pause")
        with transaction():
            edits.edit(viewer(cast.alice), item_id, title="Pause a macro", body="Please.", number=1, now=NOW)
        name = find_user(cast.alice).label
    carol, address = sign_in(cast.carol), f"/feedback/{item_id}/edit"
    token = csrf_token(text(carol, "/releases/"))
    page = carol.post(address, data={"csrf_token": token, "title": "Taken over", "body": "x", "number": "1"}).get_data(as_text=True)
    assert "Taken over" in page
    assert name not in page
    assert cast.alice not in page


def test_the_page_of_changes_says_that_words_are_only_taken_out_of_what_is_in_a_beta(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        item_id = write(cast.alice, "Pause a macro")
        answer(item_id, Status.IN_BETA, version="15.4b1")
    petra, address = sign_in(cast.petra), f"/feedback/{item_id}/edit"
    form = forms(text(petra, address))[address]
    assert "words can be taken out but none added" in words(text(petra, address))
    refused = petra.post(address, data={**form, "title": "Pause a macro in beta"})
    assert refused.status_code == 400
    assert "Pause a macro in beta" in refused.get_data(as_text=True), "what was typed is kept"
    assert petra.post(address, data={**form, "title": "Pause"}).status_code == 302


def test_the_board_is_narrowed_to_a_beta_and_sorted_by_the_latest_answer(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        beta = release("15.3b2")
        write(cast.alice, "Crash in the beta", version="15.3b2")
        tested, other = write(cast.alice, "Pause"), write(cast.carol, "Reconnect")
        answer(tested, "in_beta", release_id=beta, response="Beta 2 has it.")  # type: ignore[arg-type]
        answer(other, response="Soon.")
        vote(cast.alice, other)
    alice, dave = sign_in(cast.alice), sign_in(cast.dave)

    def titles(client: FlaskClient, query: str) -> list[str]:
        page = text(client, f"/feedback/?{query}")
        return [part.partition("</a>")[0].rpartition(">")[2] for part in page.split('<h2 class="h3 mb-0">')[1:]]

    assert set(titles(alice, "beta=15.3b2")) == {"Crash in the beta", "Pause"}
    assert titles(alice, "sort=answered") == ["Reconnect", "Pause"]
    assert 'name="beta"' in text(alice, "/feedback/")
    assert 'name="beta"' not in text(dave, "/feedback/")
    assert titles(dave, "beta=15.3b2") == []
    assert titles(dave, "sort=answered") == ["Reconnect"]
    assert titles(alice, "beta=99") == []
    with app.app_context():
        assert viewer(cast.dave).lapsed
