"""Double opt-in: minor and major releases are switched on by a click in a mail, once, and by nothing else."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.database import db, transaction
from portal.notices import links, suppression
from portal.notices.models import Delivery, Notice, Subscription, SubscriptionRequest, Suppression, SuppressionCause, Topic
from tests.cast import Cast
from tests.conftest import NOW
from tests.web.account.pages import change_user, link_in_newest, mails, send, text_of
from tests.web.notices.test_preferences import Person

SignIn = Callable[[str], FlaskClient]
KIND = "confirm_subscription"


def newest_link(app: Flask) -> str:
    return link_in_newest(app, KIND, "confirm_url")


def mailed(app: Flask) -> list[str]:
    return [address for kind, address in mails(app) if kind == KIND]


@pytest.fixture
def erin(app: Flask, cast: Cast) -> Person:
    return Person(app, cast.erin, cast.product)


def ask_for(client: FlaskClient, person: Person, *topics: Topic) -> str:
    """Tick topics on the page of notices, and return what the page says then."""
    ticked = [person.value(topic) for topic in topics]
    page = "/account/notices/"
    answer = send(client, page, wanted=ticked)  # type: ignore[arg-type]
    assert answer.status_code == 303
    return text_of(client.get(page))


def test_switching_on_sends_a_mail_and_the_page_shows_what_waits(
    app: Flask, sign_in: SignIn, erin: Person, cast: Cast, client: FlaskClient
) -> None:
    signed_in = sign_in(cast.erin)
    page = ask_for(signed_in, erin, Topic.MINOR, Topic.MAJOR)
    assert f"We sent you a mail to {cast.erin}. Open it and confirm there" in page
    assert page.count("Off until you confirm") == 2
    assert erin.wanted() == set()
    assert mailed(app) == [cast.erin]
    link = newest_link(app)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.open(link, method=method).status_code == 200
        assert erin.wanted() == set()
    shown = client.get(link)
    assert shown.text.count("<button") == 1
    assert "Get mail about minor and major releases of Macro Studio?" in text_of(shown)
    for _ in range(2):
        answer = client.post(link)
        assert answer.status_code == 200
        assert "You are subscribed" in text_of(answer)
        assert erin.wanted() == {Topic.MINOR, Topic.MAJOR}
    assert "You are subscribed" in text_of(client.get(link))
    assert "Off until you confirm" not in text_of(signed_in.get("/account/notices/"))


def test_saving_again_what_waits_sends_no_second_mail_and_a_button_does(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    signed_in = sign_in(cast.erin)
    ask_for(signed_in, erin, Topic.MINOR)
    assert "Nothing was changed" in ask_for(signed_in, erin, Topic.MINOR)
    assert len(mailed(app)) == 1
    first = newest_link(app)
    assert send(signed_in, "/account/notices/", act="ask-again").status_code == 303
    assert len(mailed(app)) == 2
    assert newest_link(app) != first
    assert app.test_client().post(first).status_code == 200
    assert erin.wanted() == {Topic.MINOR}


def test_unticking_what_waits_withdraws_it_and_the_link_is_dead(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    signed_in = sign_in(cast.erin)
    ask_for(signed_in, erin, Topic.MINOR, Topic.MAJOR)
    ask_for(signed_in, erin, Topic.MAJOR)
    link = newest_link(app)
    assert "Get mail about major releases of Macro Studio?" in text_of(app.test_client().get(link))
    ask_for(signed_in, erin)
    for answer in (app.test_client().get(link), app.test_client().post(link)):
        assert answer.status_code == 410
        assert "switched off since" in text_of(answer)
    assert erin.wanted() == set()


def test_unsubscribing_by_link_while_a_request_waits_takes_the_topic_out_of_it(
    app: Flask, sign_in: SignIn, erin: Person, cast: Cast, client: FlaskClient
) -> None:
    ask_for(sign_in(cast.erin), erin, Topic.MINOR, Topic.MAJOR)
    assert client.post(unsubscribe_path(app, erin, Topic.MINOR)).status_code == 200
    assert client.post(newest_link(app)).status_code == 200
    assert erin.wanted() == {Topic.MAJOR}


def unsubscribe_path(app: Flask, person: Person, topic: Topic) -> str:
    settings = app.extensions["portal.settings"]
    return links.unsubscribe_url(settings, person.user_id, person.product_id, topic).removeprefix(settings.base_url)


def test_an_old_link_used_after_unsubscribing_switches_nothing_on(
    app: Flask, sign_in: SignIn, erin: Person, cast: Cast, client: FlaskClient
) -> None:
    signed_in = sign_in(cast.erin)
    ask_for(signed_in, erin, Topic.MINOR)
    first = newest_link(app)
    send(signed_in, "/account/notices/", act="ask-again")
    second = newest_link(app)
    client.post(second)
    client.post(unsubscribe_path(app, erin, Topic.MINOR))
    assert "You confirmed this before" in text_of(client.post(second))
    assert client.post(first).status_code == 410
    assert erin.wanted() == set()


def test_after_seven_days_the_link_says_that_it_expired_and_what_to_do(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    ask_for(sign_in(cast.erin), erin, Topic.MINOR)
    link = newest_link(app)
    with time_machine.travel(NOW + timedelta(days=7, minutes=5), tick=True):
        client = app.test_client()
        for answer in (client.get(link), client.post(link)):
            assert answer.status_code == 410
            assert "This link has expired" in answer.text
            assert "/releases/macro-studio/subscribe" in answer.text
        assert erin.wanted() == set()


@pytest.mark.parametrize("token", ["nonsense", "%00", "a" * 3000, "%ED%A0%80"])
def test_a_link_that_is_not_ours_is_not_found(client: FlaskClient, cast: Cast, token: str) -> None:
    for answer in (client.get(f"/notices/confirm/{token}"), client.post(f"/notices/confirm/{token}")):
        assert answer.status_code == 404
        assert "This link does not work" in answer.text


def test_a_closed_account_is_neither_mailed_nor_confirmed(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    ask_for(sign_in(cast.erin), erin, Topic.MINOR)
    link = newest_link(app)
    change_user(app, cast.erin, active=False)
    client = app.test_client()
    assert client.post(link).status_code == 410
    assert client.post(erin.preferences, data={"wanted": [erin.value(Topic.MINOR), erin.value(Topic.MAJOR)]}).status_code == 303
    assert "We could not send another mail" in text_of(client.get(erin.preferences))
    assert erin.wanted() == set()
    assert mailed(app) == [cast.erin]


def test_the_link_of_a_mail_asks_too_and_only_three_times_a_day(app: Flask, erin: Person, cast: Cast, client: FlaskClient) -> None:
    client.post(erin.preferences, data={"wanted": erin.value(Topic.MINOR)})
    assert "Off until you confirm" in text_of(client.get(erin.preferences))
    for _ in range(5):
        client.post(erin.preferences, data={"act": "ask-again"})
    assert mailed(app) == [cast.erin] * 3
    assert "We could not send another mail" in text_of(client.get(erin.preferences))
    with time_machine.travel(NOW + timedelta(days=1, minutes=5), tick=True):
        client.post(erin.preferences, data={"act": "ask-again"})
    assert mailed(app) == [cast.erin] * 4
    assert erin.wanted() == set()


def test_the_mail_holds_the_link_and_the_outbox_does_not(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    ask_for(sign_in(cast.erin), erin, Topic.MINOR)
    token = newest_link(app).rpartition("/")[2]
    with app.app_context():
        stored = [
            str(row) for model in (Notice, Delivery, SubscriptionRequest) for row in db.session.execute(sa.select(*model.__table__.c))
        ]
        db.session.remove()
    assert all(token not in row for row in stored)


def test_what_was_confirmed_lifts_the_suppression_of_the_address(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    suppress(app, cast.erin)
    ask_for(sign_in(cast.erin), erin, Topic.MINOR)
    assert is_suppressed(app, cast.erin)
    app.test_client().post(newest_link(app))
    assert not is_suppressed(app, cast.erin)


def test_a_suppressed_address_is_told_and_confirmed_without_choosing_anything(app: Flask, sign_in: SignIn, cast: Cast) -> None:
    alice = Person(app, cast.alice, cast.product)
    suppress(app, cast.alice)
    signed_in = sign_in(cast.alice)
    page = text_of(signed_in.get("/account/notices/"))
    assert "Mail to your address came back" in page
    assert "550 5.1.1 No such mailbox" in page
    before = alice.wanted()
    send(signed_in, "/account/notices/", act="confirm-address")
    link = newest_link(app)
    client = app.test_client()
    assert "Get mail at alice@logistics.example.org again?" in text_of(client.get(link))
    assert is_suppressed(app, cast.alice)
    assert "Your address is confirmed" in text_of(client.post(link))
    assert not is_suppressed(app, cast.alice)
    suppress(app, cast.alice)
    client.post(link)
    assert is_suppressed(app, cast.alice)
    assert alice.wanted() == before


def suppress(app: Flask, address: str) -> None:
    with app.app_context():
        with transaction() as session:
            session.add(
                Suppression(address=address, cause=SuppressionCause.RETURNED, reason="550 5.1.1 No such mailbox", created_at=clock.now())
            )
        db.session.remove()


def is_suppressed(app: Flask, address: str) -> bool:
    with app.app_context():
        found = address in suppression.suppressed([address])
        db.session.remove()
    return found


def test_of_many_clicks_at_once_one_confirms_and_all_are_answered(app: Flask, sign_in: SignIn, erin: Person, cast: Cast) -> None:
    ask_for(sign_in(cast.erin), erin, Topic.MINOR, Topic.MAJOR)
    link = newest_link(app)
    answers: list[int] = []
    start = threading.Barrier(6)

    def click() -> None:
        start.wait()
        answers.append(app.test_client().post(link).status_code)

    threads = [threading.Thread(target=click) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 6
    with app.app_context():
        rows = db.session.scalars(sa.select(Subscription.wanted).where(Subscription.user_id == erin.user_id)).all()
        db.session.remove()
    assert rows == [True, True]


def test_a_click_and_a_no_at_the_same_moment_end_with_the_no_or_in_that_order(
    app: Flask, sign_in: SignIn, erin: Person, cast: Cast
) -> None:
    """Whichever is first: the topic is off in the end, or the click came after the "no" and found nothing to confirm."""
    signed_in = sign_in(cast.erin)
    for _ in range(4):
        ask_for(signed_in, erin, Topic.MINOR)
        confirm, stop = newest_link(app), unsubscribe_path(app, erin, Topic.MINOR)
        start = threading.Barrier(2)

        def press(path: str, start: threading.Barrier = start) -> None:
            start.wait()
            app.test_client().post(path)

        threads = [threading.Thread(target=press, args=(path,)) for path in (confirm, stop)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert erin.wanted() == set()
