"""Following, verdicts, links and numbers, as their people press and read them."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account import staff_tokens
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.feedback import digest, followers
from portal.feedback.loop_models import Answer, Verdict
from portal.feedback.models import Status, Visibility
from portal.notices.models import Delivery
from tests.board import answer, person, release, suspended, write
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.loop import deliver, draft, give, link, standing

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def item_id(app: Flask, cast: Cast) -> int:
    with app.app_context():
        return write(cast.alice, "Pause a <macro>")


@pytest.fixture
def beta(app: Flask, item_id: int) -> int:
    """A beta that brings the item."""
    with app.app_context():
        added = release("15.4b1")
        link(item_id, added)
        return added


def post(client: FlaskClient, page: str, action: str, **fields: str) -> tuple[int, str]:
    """Post to `action` with the token of `page`; return the status, and the page it leads to."""
    token = csrf_token(client.get(page).get_data(as_text=True))
    found = client.post(action, data={"csrf_token": token, **fields}, follow_redirects=True)
    return found.status_code, found.get_data(as_text=True)


def text(client: FlaskClient, path: str) -> str:
    found = client.get(path)
    assert found.status_code == 200, path
    return found.get_data(as_text=True)


# Following -----------------------------------------------------------------------------------------------------------------------


def test_a_reader_follows_finds_it_in_the_list_and_stops_there(app: Flask, cast: Cast, item_id: int, sign_in: SignIn) -> None:
    carol, path = sign_in(cast.carol), f"/feedback/{item_id}/"
    assert "You follow nothing yet" in text(carol, "/feedback/following/")
    assert "Follow it to get a mail" in text(carol, path)
    status, page = post(carol, path, f"{path}follow", wanted="yes")
    assert status == 200
    assert "You follow this" in page
    assert "Pause a &lt;macro&gt;" in text(carol, "/feedback/following/")
    status, page = post(carol, "/feedback/following/", f"{path}follow", wanted="no", next="/feedback/following/")
    assert "You follow nothing yet" in page


def test_the_page_says_where_mail_is_switched_off(app: Flask, cast: Cast, item_id: int, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    assert "You follow this" in text(alice, f"/feedback/{item_id}/")
    post(alice, "/account/notices/", "/account/notices/")  # everything off
    assert "switched off for you" in text(alice, f"/feedback/{item_id}/")


def test_what_cannot_be_seen_cannot_be_followed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        private = write(cast.alice, visibility=Visibility.PRIVATE)
    assert post(sign_in(cast.carol), "/feedback/", f"/feedback/{private}/follow", wanted="yes")[0] == 404
    assert post(sign_in(cast.erin), "/account/", f"/feedback/{private}/follow", wanted="yes")[0] == 404
    with app.app_context():
        assert followers.count(private) == 1


# Verdicts ------------------------------------------------------------------------------------------------------------------------


def test_the_home_page_leads_voters_to_their_verdicts(cast: Cast, beta: int, sign_in: SignIn) -> None:
    way = 'href="/feedback/verdicts/macro-studio/15.4b1/"'
    assert way in text(sign_in(cast.alice), "/")
    assert way not in text(sign_in(cast.carol), "/")
    assert way not in text(sign_in(cast.dave), "/")


def test_a_verdict_is_given_on_the_betas_page_and_changed_on_the_items(
    app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn
) -> None:
    bob, page = sign_in(cast.bob), "/beta/macro-studio/15.4b1/"
    assert "Does 15.4 beta\xa01 solve what you asked for?" in text(bob, page)
    action = "/feedback/verdicts/macro-studio/15.4b1/"
    fields = {f"answer-{item_id}": "partly", f"words-{item_id}": "Only <b>once</b>."}
    status, after = post(bob, page, action, **fields)
    assert status == 200
    assert "Thank you." in after
    assert "1 of 1 answered" in after
    assert "Only &lt;b&gt;once&lt;/b&gt;." in after
    status, after = post(bob, f"/feedback/{item_id}/", action, **{f"answer-{item_id}": "yes", "next": f"/feedback/{item_id}/"})
    assert "You answered" in after
    with app.app_context():
        given = db.session.scalars(sa.select(Verdict)).one()
        assert (given.answer, given.words, given.user_id) == (Answer.YES, "", person(cast.bob).id)
    assert "Bob Example answered “yes”" in text(sign_in(cast.alice), page)


def test_words_without_an_answer_are_refused_and_kept(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    alice, page, action = sign_in(cast.alice), "/beta/macro-studio/15.4b1/", "/feedback/verdicts/macro-studio/15.4b1/"
    for fields, error in (
        ({f"words-{item_id}": "Nearly there"}, "Choose yes, partly or no."),
        ({f"words-{item_id}": "Nearly there", f"answer-{item_id}": "maybe"}, "Choose yes, partly or no."),
        ({f"words-{item_id}": "Nearly there" + "!" * 5000, f"answer-{item_id}": "no"}, "4,000 is the most"),
    ):
        status, after = post(alice, page, action, **fields)
        assert status == 400
        assert error in after
        assert "Nearly there" in after
    status, after = post(alice, page, action)
    assert status == 200
    assert "no answer was chosen yet" in after
    with app.app_context():
        assert db.session.scalars(sa.select(Verdict)).all() == []


def test_nobody_answers_for_what_they_cannot_see(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    action, fields = "/feedback/verdicts/macro-studio/15.4b1/", {f"answer-{item_id}": "no"}
    with app.app_context():
        private = write(cast.carol, "Zoom", visibility=Visibility.PRIVATE)
        link(private, beta)
    for email in (cast.erin, cast.dave, cast.frank, cast.petra):
        client = sign_in(email)
        assert client.get(action).status_code == 404, email
        assert post(client, "/account/", action, **fields)[0] == 404, email
    status, _ = post(sign_in(cast.alice), "/feedback/", action, **{f"answer-{private}": "no"})
    assert status == 200
    with app.app_context():
        assert db.session.scalars(sa.select(Verdict)).all() == []
    assert sign_in(cast.alice).get("/feedback/verdicts/macro-studio/99/").status_code == 404


def test_the_lapsed_see_neither_the_question_nor_the_beta(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    with app.app_context(), suspended(cast.contract):
        alice = sign_in(cast.alice)
        page = text(alice, f"/feedback/{item_id}/")
        listed = text(alice, "/feedback/following/")
    for words in ("15.4", "solve this", "In these releases"):
        assert words not in page
        assert words not in listed


# Links ---------------------------------------------------------------------------------------------------------------------------


def test_staff_link_from_the_items_page_and_take_it_back(app: Flask, cast: Cast, item_id: int, sign_in: SignIn) -> None:
    with app.app_context():
        beta = release("15.4b1")
        draft("15.5b1")
    petra, path = sign_in(cast.petra), f"/staff/feedback/{item_id}/"
    page = text(petra, path)
    assert "15.5b1, beta, draft" in page
    status, page = post(petra, path, "/staff/feedback/links/add", item=str(item_id), release=str(beta), next=path)
    assert status == 200
    assert "Linked." in page
    assert "In beta" in page
    page = post(petra, path, "/staff/feedback/links/remove", item=str(item_id), release=str(beta), next=path)[1]
    assert "The link is taken back" in page
    for item, of in ((str(item_id), "x"), ("404", str(beta)), ("-1", str(beta)), ("9" * 30, str(beta))):
        assert "Nothing was linked." in post(petra, path, "/staff/feedback/links/add", item=item, release=of, next=path)[1]


def test_publishers_link_from_the_releases_page_and_read_verdicts_there(
    app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn
) -> None:
    with app.app_context():
        give(cast.alice, item_id, beta, Answer.NO, "It <crashes>.")
        other = write(cast.carol, "Zoom")
    paula, path = sign_in(cast.paula), "/staff/releases/macro-studio/15.4b1/"
    page = text(paula, path)
    for words in ("Verdicts on what it brings", "1 no", "It &lt;crashes&gt;.", "Example Logistics"):
        assert words in page
    assert "Linked." in post(paula, path, "/staff/feedback/links/add", item=f"#{other}", release=str(beta), next=path)[1]
    adoption = text(sign_in(cast.petra), f"{path}adoption/")
    assert "1 no" in adoption
    assert "Take back" not in adoption
    with app.app_context():
        assert standing(other)[1] == "15.4b1"


def test_only_those_who_make_releases_or_read_feedback_link(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    for email in (cast.alice, cast.anton):
        client = sign_in(email)
        for action in ("add", "remove"):
            assert post(client, "/account/", f"/staff/feedback/links/{action}", item=str(item_id), release=str(beta))[0] == 404


# Numbers and files ---------------------------------------------------------------------------------------------------------------


def test_the_numbers_are_drawn_tabled_and_saved(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    with app.app_context():
        give(cast.alice, item_id, beta, Answer.PARTLY)
        write(cast.alice, "=HYPERLINK(1)", now=NOW - timedelta(days=3))
    petra = sign_in(cast.petra)
    page = text(petra, "/staff/feedback/reports/")
    assert page.count('role="img" aria-label="') == 4, "what is drawn says its numbers"
    for words in ("style=", "<style", "<script>", "onload"):
        assert words not in page.partition("<main")[2].partition("</main>")[0]
    for words in ("Items per week", "Time to first answer", "USD a year", "Verdicts by beta: 15.4 beta\xa01 0 yes, 1 partly, 0 no."):
        assert words in page
    assert "15.4b1" not in text(petra, "/staff/feedback/reports/?product=form-filler")
    top = petra.get("/staff/feedback/reports/top-by-value.csv")
    assert top.content_type == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(top.get_data(as_text=True))))
    assert rows[0] == ["id", "title", "status", "contracts", "usd_a_year", "contracts_ending_in_90_days"]
    assert [row[1] for row in rows if "HYPERLINK" in row[1]] == ["'=HYPERLINK(1)"]
    for name in ("items-per-week", "items-per-release", "first-answer", "open-by-age", "verdicts-per-beta"):
        assert len(text(petra, f"/staff/feedback/reports/{name}.csv?product=macro-studio").splitlines()) > 1, name
    assert petra.get("/staff/feedback/reports/secrets.csv").status_code == 404


def test_an_empty_board_has_pages_of_numbers_too(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    page = text(sign_in(cast.petra), "/staff/feedback/reports/")
    assert "Nothing was asked in 26 weeks." in page
    assert "No open item has a vote" in page


def test_all_feedback_is_downloaded_with_voting_contracts_and_that_is_noted(
    app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn
) -> None:
    with app.app_context():
        for title in ("=1+1", "+1", "-1", "@SUM(A1)"):
            write(cast.carol, title, visibility=Visibility.PRIVATE)
        with transaction():
            token = staff_tokens.create("reports", ["feedback:read"], 30, actor=person(cast.petra), now=NOW)
    petra = sign_in(cast.petra)
    file = petra.get("/staff/feedback/export.csv")
    assert file.headers["Content-Disposition"] == "attachment; filename=feedback.csv"
    rows = list(csv.DictReader(io.StringIO(file.get_data(as_text=True))))
    assert [row["title"] for row in rows] == ["Pause a <macro>", "'=1+1", "'+1", "'-1", "'@SUM(A1)"]
    assert (rows[0]["voting_contracts"], rows[0]["linked_releases"]) == ("NW-2041", "15.4b1")
    found = json.loads(petra.get("/staff/feedback/export.json").get_data(as_text=True))
    assert [one["voting_contracts"] for one in found] == [["NW-2041"], *[["NW-2042"]] * 4]
    with app.app_context():
        events = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "feedback.exported")).all()
        assert [event.details["format"] for event in events] == ["csv", "json"]
    for form in ("csv", "json"):
        by_token = app.test_client().get(f"/staff/api/feedback.{form}", headers={"Authorization": f"Bearer {token}"})
        assert by_token.is_streamed
        assert by_token.headers["Content-Type"] == petra.get(f"/staff/feedback/export.{form}").headers["Content-Type"]
        assert by_token.data == petra.get(f"/staff/feedback/export.{form}").data
    for email in (cast.alice, cast.paula, cast.anton):
        assert sign_in(email).get("/staff/feedback/export.csv").status_code == 404
        assert sign_in(email).get("/staff/feedback/reports/").status_code == 404
    assert petra.get("/staff/feedback/export.xml").status_code == 404


def test_each_member_of_the_team_switches_the_digest_for_themselves(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    petra, path = sign_in(cast.petra), "/staff/feedback/reports/"
    page = post(petra, path, f"{path}digest", wanted="no")[1]
    assert "You no longer get the weekly digest." in page
    assert "Switch it on for me" in page
    with app.app_context():
        assert not digest.is_wanted(person(cast.petra).id)
        assert digest.is_wanted(person(cast.ada).id)
    assert "Switch it off for me" in post(petra, path, f"{path}digest", wanted="yes")[1]


# Mail ----------------------------------------------------------------------------------------------------------------------------


def test_the_one_click_of_a_mail_ends_mail_about_feedback_of_that_product(
    app: Flask, client: FlaskClient, cast: Cast, item_id: int, sign_in: SignIn
) -> None:
    with app.app_context():
        answer(item_id, Status.PLANNED)
        (mail,) = deliver()
    link = next(line for line in mail.text.splitlines() if "/notices/unsubscribe/" in line)
    path = link.removeprefix("http://127.0.0.1:8000")
    assert "Stop mail about feedback you follow of Macro Studio?" in client.get(path).get_data(as_text=True)
    assert client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    with app.app_context():
        answer(item_id, Status.SHIPPED, version="15.4", now=NOW + timedelta(hours=1))
        assert deliver(NOW + timedelta(hours=1)) == []
    assert "switched off for you" in text(sign_in(cast.alice), f"/feedback/{item_id}/")


def test_staff_read_a_mail_of_the_loop_as_it_went_out(app: Flask, cast: Cast, item_id: int, beta: int, sign_in: SignIn) -> None:
    with app.app_context():
        notice_id, delivery_id = db.session.execute(sa.select(Delivery.notice_id, Delivery.id).where(Delivery.address == cast.bob)).one()
        with transaction():
            db.session.get_one(Delivery, delivery_id).attempts = 1
    page = text(sign_in(cast.paula), f"/staff/notices/{notice_id}/mails/{delivery_id}/")
    assert "Does Macro Studio 15.4b1 solve it?" in page
