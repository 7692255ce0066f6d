"""The staff's pages about notices: who may see them, what they show, how they page."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import User
from portal.database import db, transaction
from portal.notices import people, progress
from portal.notices.models import DeliveryState, Notice
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.statements import statements
from tests.web.notices.conftest import Enqueue, settle

SignIn = Callable[[str], FlaskClient]


@pytest.mark.parametrize(
    "path", [f"/staff/notices/{rest}" for rest in ("", "1/", "1/progress", "1/people", "1/domains", "1/stop", "1/mails/1/")]
)
def test_only_publishers_and_admins_see_notices(sign_in: SignIn, enqueue: Enqueue, cast: Cast, client: FlaskClient, path: str) -> None:
    assert enqueue(cast.alice) == 1
    allowed = {cast.paula: 200, cast.ada: 200, cast.petra: 404, cast.anton: 404, cast.alice: 404, cast.erin: 404}
    assert {person: sign_in(person).get(path).status_code for person in allowed} == allowed
    assert client.get(path).status_code == 302


def test_a_notice_shows_its_numbers_and_its_people_by_state(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin)
    settle(app, cast.alice, DeliveryState.SENT, "250 OK")
    settle(app, cast.bob, DeliveryState.BOUNCED, "550 5.1.1 <no> such user")
    settle(app, cast.carol, DeliveryState.SKIPPED, reason="switched off")
    client = sign_in(cast.paula)
    page = client.get(f"/staff/notices/{notice_id}/").text
    assert "Of 4: 1 sent, 1 queued, 1 bounced, 1 skipped" in page
    assert "550 5.1.1 &lt;no&gt; such user" in page
    assert "Switched off" in page
    bounced = client.get(f"/staff/notices/{notice_id}/?state=bounced").text
    assert cast.bob in bounced
    assert cast.alice not in bounced
    assert cast.alice in client.get(f"/staff/notices/{notice_id}/?state=nonsense").text
    assert "Nobody is in this state." in client.get(f"/staff/notices/{notice_id}/?state=failed").text


def test_the_numbers_can_be_fetched_while_it_goes_out(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    client = sign_in(cast.paula)
    before = client.get(f"/staff/notices/{notice_id}/progress").json
    assert before is not None
    assert (before["total"], before["finished"], before["summary"]) == (2, False, "Of 2: 2 queued")
    for address in (cast.alice, cast.bob):
        settle(app, address, DeliveryState.SENT)
    after = client.get(f"/staff/notices/{notice_id}/progress").json
    assert after is not None
    assert (after["counts"]["sent"], after["finished"]) == (2, True)
    assert "segbar" in after["html"]


def test_what_failed_can_be_tried_again(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(app, cast.alice, DeliveryState.FAILED, reason="given up after 72 hours of trying")
    settle(app, cast.bob, DeliveryState.BOUNCED, "550 5.1.1 unknown")
    client = sign_in(cast.paula)
    page = client.get(f"/staff/notices/{notice_id}/").text
    assert "Retry 1" in page
    answer = client.post(f"/staff/notices/{notice_id}/retry", data={"csrf_token": csrf_token(page)}, follow_redirects=True)
    assert "1 will be tried again now." in answer.text
    assert "Retry 1" not in answer.text
    with app.app_context():
        counts = progress.progress(notice_id).counts
    assert (counts[DeliveryState.QUEUED], counts[DeliveryState.BOUNCED]) == (1, 1)


def test_the_list_says_what_was_sent_and_to_whom(sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    enqueue(cast.alice)
    enqueue(cast.alice, cast.bob)
    page = sign_in(cast.paula).get("/staff/notices/").text
    assert page.count("Macro Studio 15.2.1") == 2
    assert cast.alice in page
    assert "2 people" in page


def test_the_list_keeps_notices_to_many_apart_from_single_mails(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    client = sign_in(cast.paula)
    assert "No notice yet." in client.get("/staff/notices/").text
    assert "No single mail yet." in client.get("/staff/notices/?show=single").text
    release, reset, test = enqueue(cast.alice), enqueue(cast.alice, kind="password_reset"), enqueue(cast.paula)
    with app.app_context(), transaction() as session:
        notice = session.get_one(Notice, test)
        notice.context = {**notice.context, "test": True}

    def listed(query: str) -> list[int]:
        page = client.get(f"/staff/notices/{query}").text
        return [one for one in (release, reset, test) if f"/staff/notices/{one}/" in page]

    assert listed("") == listed("?show=many") == listed("?show=nonsense") == [release]
    assert listed("?show=single") == [reset, test]
    assert listed("?show=running") == [release, reset, test]


def test_the_people_can_be_fetched_while_it_goes_out(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(app, cast.alice, DeliveryState.SENT, "250 OK")
    client = sign_in(cast.paula)
    part = client.get(f"/staff/notices/{notice_id}/people?state=sent").text
    assert "<html" not in part
    assert cast.alice in part
    assert cast.bob not in part


def test_what_is_not_sent_yet_can_be_stopped_after_a_confirmation(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    settle(app, cast.alice, DeliveryState.SENT, "250 OK")
    client = sign_in(cast.paula)
    assert f"/staff/notices/{notice_id}/stop" in client.get(f"/staff/notices/{notice_id}/").text
    asked = client.get(f"/staff/notices/{notice_id}/stop").text
    assert "2 people are still to get it" in asked
    answer = client.post(f"/staff/notices/{notice_id}/stop", data={"csrf_token": csrf_token(asked)}, follow_redirects=True)
    assert "The notice is stopped. What was not sent yet will not be sent." in answer.text
    assert "Of 3: 1 sent, 2 skipped" in answer.text
    assert "Retry" not in answer.text
    again = client.post(f"/staff/notices/{notice_id}/stop", data={"csrf_token": csrf_token(asked)}, follow_redirects=True)
    assert "Nothing is left to stop." in again.text


def test_an_unknown_notice_is_not_found(sign_in: SignIn, cast: Cast) -> None:
    client = sign_in(cast.paula)
    page = client.get("/staff/notices/").text
    assert "No notice yet." in page
    for path in (
        "1/",
        "99999999999999999999/",
        "1/progress",
        "1/people",
        "1/domains",
        "1/stop",
        "1/mails/1/",
        "1/mails/99999999999999999999/",
    ):
        assert client.get(f"/staff/notices/{path}").status_code == 404
    for act in ("retry", "stop", "pause", "resume"):
        assert client.post(f"/staff/notices/1/{act}", data={"csrf_token": csrf_token(page)}).status_code == 404
    assert client.get("/staff/notices/?before=99999999999999999999").status_code == 200


def test_lists_are_paged_and_cost_the_same_however_long(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    client = sign_in(cast.paula)
    everybody = [f"person{n}@example.org" for n in range(progress.PAGE * 2 + 1)]
    with app.app_context(), transaction() as session:
        session.add_all(User(email=address, name="", fs_uniquifier=address, created_at=NOW) for address in everybody)
    small, big = enqueue(cast.alice), enqueue(*everybody)
    with statements(app) as few:
        client.get(f"/staff/notices/{small}/")
    with statements(app) as many:
        page = client.get(f"/staff/notices/{big}/").text
    assert len(few) == len(many)
    seen = [address for address in everybody if f">{address}<" in page]
    assert len(seen) == progress.PAGE
    with app.app_context():
        last = people.recipients(big).next_after
    older = client.get(f"/staff/notices/{big}/?after={last}").text
    assert not set(seen) & {address for address in everybody if f">{address}<" in older}

    with statements(app) as few:
        client.get("/staff/notices/")
    for _ in range(progress.PAGE):
        enqueue(cast.bob)
    with statements(app) as many:
        page = client.get("/staff/notices/").text
    assert len(few) == len(many)
    assert page.count('scope="row"') == progress.PAGE
    assert f"before={big + 1}" in page
    assert client.get(f"/staff/notices/?before={big + 1}").text.count('scope="row"') == 2


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
