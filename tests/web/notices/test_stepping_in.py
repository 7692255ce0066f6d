"""What publishers do to a notice that is going out: filter its people, retry what they see, pause it, let it go on."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import User
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.notices import control, progress, suppression
from portal.notices.models import Delivery, DeliveryState, DomainPause, Notice
from portal.products.catalog import find_product
from portal.releases import drafts
from portal.releases.models import Channel
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.web.notices.conftest import Enqueue, settle

SignIn = Callable[[str], FlaskClient]
ACTS = ("retry", "pause", "resume", "stop")


def states(app: Flask, notice_id: int) -> dict[str, str]:
    with app.app_context():
        rows = db.session.execute(sa.select(Delivery.address, Delivery.state).where(Delivery.notice_id == notice_id))
        return {address: state.value for address, state in rows}


def events(app: Flask, notice_id: int) -> list[tuple[str, str]]:
    with app.app_context():
        of_notice = AuditEvent.subject_type == "notice", AuditEvent.subject_id == notice_id
        rows = db.session.execute(sa.select(AuditEvent.action, AuditEvent.actor).where(*of_notice).order_by(AuditEvent.id))
        return [(row.action, row.actor) for row in rows]


@pytest.mark.parametrize("act", ACTS)
def test_only_publishers_and_admins_step_in(
    app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast, client: FlaskClient, act: str
) -> None:
    notice_id = enqueue(cast.alice)
    for person in (cast.petra, cast.anton, cast.alice, cast.erin):
        signed_in = sign_in(person)
        token = csrf_token(signed_in.get("/account/").text)
        assert signed_in.post(f"/staff/notices/{notice_id}/{act}", data={"csrf_token": token}).status_code == 404
    token = csrf_token(client.get("/sign-in").text)
    assert client.post(f"/staff/notices/{notice_id}/{act}", data={"csrf_token": token}).status_code == 302
    assert sign_in(cast.paula).post(f"/staff/notices/{notice_id}/{act}").status_code == 400
    assert (states(app, notice_id), events(app, notice_id)) == ({cast.alice: "queued"}, [])


@pytest.mark.usefixtures("worker")
def test_a_notice_is_paused_and_goes_on(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    client, colleague = sign_in(cast.paula), sign_in(cast.ada)
    page = client.get(f"/staff/notices/{notice_id}/").text
    assert "Sending, live" in page
    token = {"csrf_token": csrf_token(page)}
    paused = client.post(f"/staff/notices/{notice_id}/pause", data=token, follow_redirects=True).text
    assert "The notice is paused." in paused
    assert "By Paula Example, " in paused
    assert "Resume sending" in paused
    assert "Pause sending" not in paused
    live = colleague.get(f"/staff/notices/{notice_id}/progress").json
    assert live is not None
    assert (live["stage"], live["finished"]) == ("paused", False)
    assert "Resume sending" in live["status"]
    assert "By Paula Example, " in live["html"]
    assert "is paused already" in client.post(f"/staff/notices/{notice_id}/pause", data=token, follow_redirects=True).text
    resumed = client.post(f"/staff/notices/{notice_id}/resume", data=token, follow_redirects=True).text
    assert "The notice goes on." in resumed
    assert "Sending, live" in resumed
    assert "is not paused" in client.post(f"/staff/notices/{notice_id}/resume", data=token, follow_redirects=True).text
    assert events(app, notice_id) == [("notice.paused", "Paula Example"), ("notice.resumed", "Paula Example")]


@pytest.mark.usefixtures("worker")
def test_a_notice_that_the_portal_paused_says_why(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice)
    with app.app_context(), transaction():
        control.pause(notice_id, now=NOW, reason="The template <b>body.txt</b> is missing.")
    page = sign_in(cast.paula).get(f"/staff/notices/{notice_id}/").text
    assert "The portal paused this notice." in page
    assert "The template &lt;b&gt;body.txt&lt;/b&gt; is missing." in page


def test_a_page_says_when_no_worker_is_there(sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice)
    assert "No worker is running." in sign_in(cast.paula).get(f"/staff/notices/{notice_id}/").text


@pytest.mark.usefixtures("worker")
def test_the_pace_is_shown_while_it_goes_out(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    everybody = [f"person{n}@example.org" for n in range(progress.PACE_NEEDS + 1)]
    with app.app_context(), transaction() as session:
        session.add_all(User(email=address, name="", fs_uniquifier=address, created_at=NOW) for address in everybody)
    notice_id = enqueue(*everybody)
    client = sign_in(cast.paula)
    before = client.get(f"/staff/notices/{notice_id}/progress").json
    assert before is not None
    assert before["pace"] is None
    for address in everybody[1:]:
        settle(app, address, DeliveryState.SENT)
    after = client.get(f"/staff/notices/{notice_id}/progress").json
    assert after is not None
    assert after["pace"].endswith("left")
    assert after["pace"] in after["html"]
    assert after["pace"] in client.get(f"/staff/notices/{notice_id}/").text


def test_without_javascript_nobody_is_told_that_the_numbers_refresh_by_themselves(sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    page = sign_in(cast.paula).get(f"/staff/notices/{enqueue(cast.alice)}/").text
    assert "data-progress-open hidden>Refreshes by itself" in page
    assert "<noscript>" in page


def test_the_button_retries_what_the_filter_shows_and_names_the_number(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol, cast.erin)
    settle(app, cast.alice, DeliveryState.FAILED, reason="given up after 72 hours of trying")
    settle(app, cast.bob, DeliveryState.BOUNCED, "550 5.7.1 blocked")
    settle(app, cast.carol, DeliveryState.FAILED, reason="given up after 72 hours of trying")
    settle(app, cast.erin, DeliveryState.SENT, "250 OK")
    client = sign_in(cast.paula)
    url = f"/staff/notices/{notice_id}/"
    assert "Retry 2" in client.get(url).text
    assert "Retry 1" in client.get(f"{url}?domain=foods.example.org").text
    assert "Retry" not in client.get(f"{url}?state=sent").text
    assert "Retry" not in client.get(f"{url}?q=nobody").text
    page = client.get(f"{url}?state=bounced&domain=LOGISTICS.example.org&q=bob").text
    assert "1 person at logistics.example.org" in page
    form = {"state": "bounced", "domain": "logistics.example.org", "q": "bob"}
    for name, value in form.items():
        assert f'<input type="hidden" name="{name}" value="{value}">' in page
    answer = client.post(f"{url}retry", data={"csrf_token": csrf_token(page), **form})
    assert answer.location == f"{url}?domain=logistics.example.org&q=bob#people"
    assert "1 will be tried again now." in client.get(answer.location).text
    assert states(app, notice_id) == {cast.alice: "failed", cast.bob: "queued", cast.carol: "failed", cast.erin: "sent"}
    nothing = client.post(f"{url}retry", data={"csrf_token": csrf_token(page), **form}, follow_redirects=True).text
    assert "Nothing is left to try again." in nothing


def test_the_page_says_before_how_many_of_a_retry_will_be_skipped(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    for address in (cast.alice, cast.bob):
        settle(app, address, DeliveryState.BOUNCED, "550 5.1.1 unknown")
    client = sign_in(cast.paula)
    url = f"/staff/notices/{notice_id}/?state=bounced"
    assert "will be skipped" not in client.get(url).text
    with app.app_context(), transaction():
        suppression.add(cast.alice, "550 5.1.1 unknown", now=NOW)
    page = client.get(url).text
    assert "Retry 2" in page
    assert "1 of 2 will be skipped" in page
    form = {"csrf_token": csrf_token(page), "state": "bounced"}
    answer = client.post(f"/staff/notices/{notice_id}/retry", data=form, follow_redirects=True).text
    assert "1 will be tried again now. 1 will be skipped: no mail goes to a suppressed address." in answer


def test_a_stopped_notice_is_not_tried_again(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(app, cast.alice, DeliveryState.FAILED)
    client = sign_in(cast.paula)
    token = {"csrf_token": csrf_token(client.get(f"/staff/notices/{notice_id}/").text)}
    client.post(f"/staff/notices/{notice_id}/stop", data=token)
    assert "Retry" not in client.get(f"/staff/notices/{notice_id}/").text
    refused = client.post(f"/staff/notices/{notice_id}/retry", data=token, follow_redirects=True).text
    assert "was stopped, so nothing of it is tried again." in refused
    assert states(app, notice_id) == {cast.alice: "failed", cast.bob: "skipped"}


def test_a_retry_of_a_paused_notice_says_when_it_will_happen(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob)
    settle(app, cast.alice, DeliveryState.FAILED)
    client = sign_in(cast.paula)
    token = {"csrf_token": csrf_token(client.get(f"/staff/notices/{notice_id}/").text)}
    client.post(f"/staff/notices/{notice_id}/pause", data=token)
    answer = client.post(f"/staff/notices/{notice_id}/retry", data=token, follow_redirects=True).text
    assert "1 will be tried again once the notice is resumed." in answer


def test_domains_show_their_pause_and_lead_to_their_people(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice, cast.bob, cast.carol)
    settle(app, cast.alice, DeliveryState.SENT, "250 OK")
    with app.app_context(), transaction() as session:
        session.add(DomainPause(domain="foods.example.org", until=NOW + timedelta(minutes=30), reply="421 4.7.0 <slow> down"))
    client = sign_in(cast.paula)
    page = client.get(f"/staff/notices/{notice_id}/").text
    part = client.get(f"/staff/notices/{notice_id}/domains").text
    for shown in (page, part):
        assert "421 4.7.0 &lt;slow&gt; down" in shown
        assert "until <time" in shown
        assert f"/staff/notices/{notice_id}/?domain=logistics.example.org#people" in shown
    assert "<html" not in part
    people = client.get(f"/staff/notices/{notice_id}/people?domain=logistics.example.org").text
    assert cast.alice in people
    assert cast.carol not in people


def test_nonsense_in_the_address_filters_nothing_and_breaks_nothing(sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    notice_id = enqueue(cast.alice)
    client = sign_in(cast.paula)
    for query in ("state=gone", "after=-1", "after=x", "domain=%00", "q=%00%25", "q=" + "x" * 5000, "domain=%F0%9F%92%A9"):
        assert client.get(f"/staff/notices/{notice_id}/?{query}").status_code == 200
    for query in ("show=gone", "before=x", "show=%00"):
        assert client.get(f"/staff/notices/?{query}").status_code == 200


def test_the_list_shows_what_runs_what_is_paused_and_what_has_trouble(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    client = sign_in(cast.paula)
    assert "Nothing is on its way." in client.get("/staff/notices/?show=running").text
    running, paused, refused = enqueue(cast.alice), enqueue(cast.bob), enqueue(cast.carol)
    settle(app, cast.carol, DeliveryState.BOUNCED, "550 5.1.1 unknown")
    with app.app_context(), transaction():
        control.pause(paused, now=NOW)
    for show, notice_id in (("running", running), ("paused", paused), ("trouble", refused)):
        page = client.get(f"/staff/notices/?show={show}").text
        assert [one for one in (running, paused, refused) if f"/staff/notices/{one}/" in page] == [notice_id]
    page = client.get("/staff/notices/").text
    assert 'aria-label="Of 1: 1 bounced"' in page
    assert "1 not delivered" in page
    assert "/staff/notices/suppressed/" in page
    assert "/staff/notices/announcements/" in page


def test_a_notice_leads_to_what_it_is_about(app: Flask, sign_in: SignIn, enqueue: Enqueue, cast: Cast) -> None:
    client = sign_in(cast.paula)
    notice_id = enqueue(cast.alice)
    assert "See its page or send a test" not in client.get(f"/staff/notices/{notice_id}/").text
    with app.app_context(), transaction() as session:
        actor = session.scalars(sa.select(User).where(User.email == cast.paula)).one()
        made = drafts.create_release(
            find_product(cast.product), "15.2.1", Channel.STABLE, summary="", notes="New", what_to_test="", known_issues="",
            kind=None, expires_on=None, actor=actor, now=NOW,
        )  # fmt: skip
        session.get_one(Notice, notice_id).context = {"release_id": made.id, "title": "Macro Studio 15.2.1"}
    page = client.get(f"/staff/notices/{notice_id}/").text
    assert f'href="/staff/releases/{cast.product}/15.2.1/">See its page or send a test' in page


@pytest.fixture(autouse=True)
def no_leftover_connections(app: Flask) -> Iterator[None]:
    yield
    with app.app_context():
        db.session.remove()
