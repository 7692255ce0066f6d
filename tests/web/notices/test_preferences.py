"""Choosing notices and unsubscribing: on a page, and from a mail without cookie or log-in."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import Contract, User
from portal.database import db, transaction
from portal.notices import links
from portal.notices.models import Subscription, Topic
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW, csrf_token
from tests.web.account.pages import link_in_newest

SignIn = Callable[[str], FlaskClient]


class Person:
    """alice, her product, and the links a mail to her carries."""

    def __init__(self, app: Flask, address: str, slug: str) -> None:
        self.app = app
        with app.app_context():
            self.user_id = db.session.scalars(sa.select(User.id).where(User.email == address)).one()
            self.product_id = db.session.scalars(sa.select(Product.id).where(Product.slug == slug)).one()
        settings = app.extensions["portal.settings"]
        base = len(settings.base_url)
        self.unsubscribe = links.unsubscribe_url(settings, self.user_id, self.product_id, Topic.POINT)[base:]
        self.preferences = links.preferences_url(settings, self.user_id, self.product_id)[base:]

    def wanted(self) -> set[Topic]:
        with self.app.app_context():
            return set(
                db.session.scalars(
                    sa.select(Subscription.topic).where(
                        Subscription.user_id == self.user_id, Subscription.product_id == self.product_id, Subscription.wanted.is_(True)
                    )
                )
            )

    def value(self, topic: Topic) -> str:
        return f"{self.product_id}:{topic.value}"


@pytest.fixture
def alice(app: Flask, cast: Cast) -> Person:
    return Person(app, cast.alice, cast.product)


ALL_OF_A_CONTACT = {Topic.BETA, Topic.POINT, Topic.FEEDBACK}


def test_opening_the_link_changes_nothing_and_shows_one_button(alice: Person, client: FlaskClient, cast: Cast) -> None:
    page = client.get(alice.unsubscribe)
    assert page.status_code == 200
    assert page.text.count("<button") == 1
    assert "point releases of Macro Studio" in page.text
    assert client.head(alice.unsubscribe).status_code == 200
    assert client.options(alice.unsubscribe).status_code == 200
    assert alice.wanted() == ALL_OF_A_CONTACT


def test_looking_at_the_preferences_link_changes_nothing(alice: Person, client: FlaskClient) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.open(alice.preferences, method=method).status_code == 200
    assert alice.wanted() == ALL_OF_A_CONTACT


def test_who_has_a_seat_is_led_to_private_feeds_but_nobody_by_a_link_that_can_be_passed_on(
    alice: Person, client: FlaskClient, sign_in: SignIn, cast: Cast
) -> None:
    feeds = 'href="/account/security/#feeds"'
    assert feeds not in client.get(alice.preferences).text
    assert feeds in sign_in(cast.alice).get("/account/notices/").text
    assert feeds not in sign_in(cast.erin).get("/account/notices/").text


@pytest.mark.parametrize("body", [{}, {"List-Unsubscribe": "One-Click"}])
def test_a_post_unsubscribes_from_that_topic_alone_and_twice_is_as_good_as_once(
    alice: Person, client: FlaskClient, body: dict[str, str]
) -> None:
    for _ in range(2):
        answer = client.post(alice.unsubscribe, data=body)
        assert answer.status_code == 200
        assert "You are unsubscribed" in answer.text
    assert alice.wanted() == {Topic.BETA, Topic.FEEDBACK}
    assert "already unsubscribed" in client.get(alice.unsubscribe).text


def test_a_one_click_body_may_be_multipart(alice: Person, client: FlaskClient) -> None:
    answer = client.post(alice.unsubscribe, data={"List-Unsubscribe": "One-Click"}, content_type="multipart/form-data")
    assert answer.status_code == 200
    assert Topic.POINT not in alice.wanted()


def test_the_link_works_for_somebody_signed_in_as_another(alice: Person, sign_in: SignIn, cast: Cast) -> None:
    assert sign_in(cast.carol).post(alice.unsubscribe).status_code == 200
    assert Topic.POINT not in alice.wanted()


def test_the_link_outlives_a_new_password_and_a_closed_account(app: Flask, alice: Person, client: FlaskClient) -> None:
    with app.app_context(), transaction() as session:
        person = session.get_one(User, alice.user_id)
        person.fs_uniquifier = "another"
        person.active = False
    assert client.post(alice.unsubscribe).status_code == 200
    assert Topic.POINT not in alice.wanted()


@pytest.mark.parametrize("path", ["unsubscribe", "preferences"])
@pytest.mark.parametrize("token", ["nonsense", "WzEsMSwicG9pbnQiXQ.xxxx", "%00", "a" * 3000])
def test_a_link_that_is_not_ours_is_not_found(client: FlaskClient, cast: Cast, path: str, token: str) -> None:
    for answer in (client.get(f"/notices/{path}/{token}"), client.post(f"/notices/{path}/{token}")):
        assert answer.status_code == 404
        assert "This link does not work" in answer.text


def test_a_link_for_somebody_who_is_gone_is_not_found(app: Flask, client: FlaskClient, cast: Cast) -> None:
    settings = app.extensions["portal.settings"]
    base = len(settings.base_url)
    assert client.post(links.unsubscribe_url(settings, 999_999, 1, Topic.POINT)[base:]).status_code == 404
    assert client.post(links.preferences_url(settings, 999_999, 1)[base:]).status_code == 404


def test_a_contact_chooses_all_topics_of_the_product_and_the_open_ones_of_others(sign_in: SignIn, alice: Person, cast: Cast) -> None:
    client = sign_in(cast.alice)
    page = client.get("/account/notices/").text
    assert page.count('name="wanted"') == 5 + 2
    assert page.count(" checked") == 3
    chosen = [alice.value(topic) for topic in (Topic.BETA, Topic.FEEDBACK)]
    answer = client.post("/account/notices/", data={"csrf_token": csrf_token(page), "wanted": chosen})
    assert answer.status_code == 303
    assert alice.wanted() == {Topic.BETA, Topic.FEEDBACK}
    page = client.get("/account/notices/").text
    assert "Your notices are saved." in page
    assert page.count(" checked") == 2


def test_reminders_and_security_mail_are_shown_as_always_on_without_a_switch(sign_in: SignIn, alice: Person, cast: Cast) -> None:
    page = sign_in(cast.alice).get("/account/notices/").text
    for row in ("Contract reminders", "Security mail"):
        assert "Always on" in page.partition(f"<span>{row}</span>")[2].partition("</li>")[0]
    assert page.count("Always on") == 2
    assert page.count('type="checkbox"') == 5 + 2


def test_switching_everything_off_is_remembered_and_renewing_the_contact_does_not_undo_it(
    sign_in: SignIn, alice: Person, cast: Cast, app: Flask
) -> None:
    client = sign_in(cast.alice)
    client.post("/account/notices/", data={"csrf_token": csrf_token(client.get("/account/notices/").text)})
    assert alice.wanted() == set()
    from portal.notices import subscriptions

    with app.app_context(), transaction():
        subscriptions.start(alice.user_id, alice.product_id, subscriptions.CONTACT_TOPICS, now=NOW)
    assert alice.wanted() == set()


def test_a_customer_without_contract_can_ask_for_minor_and_major_releases_alone(sign_in: SignIn, app: Flask, cast: Cast) -> None:
    erin = Person(app, cast.erin, cast.product)
    client = sign_in(cast.erin)
    page = client.get("/account/notices/").text
    assert "New beta builds" not in page
    token = csrf_token(page)
    refused = client.post("/account/notices/", data={"csrf_token": token, "wanted": [erin.value(Topic.BETA), erin.value(Topic.MINOR)]})
    assert refused.status_code == 200
    assert "We could not save this." in refused.text
    assert erin.wanted() == set()
    assert client.post("/account/notices/", data={"csrf_token": token, "wanted": erin.value(Topic.MINOR)}).status_code == 303
    assert erin.wanted() == set()
    assert client.post(link_in_newest(app, "confirm_subscription", "confirm_url")).status_code == 200
    assert erin.wanted() == {Topic.MINOR}


@pytest.mark.parametrize("ending", ["suspended_at", "cancelled_at"])
def test_without_a_live_contract_betas_are_no_longer_offered(sign_in: SignIn, app: Flask, cast: Cast, ending: str) -> None:
    with app.app_context(), transaction() as session:
        for contract in session.query(Contract):
            setattr(contract, ending, NOW)
    assert "New beta builds" not in sign_in(cast.alice).get("/account/notices/").text


def test_the_link_of_a_mail_shows_that_persons_choices_for_that_product_without_log_in(
    client: FlaskClient, alice: Person, cast: Cast
) -> None:
    page = client.get(alice.preferences)
    assert page.status_code == 200
    assert cast.alice in page.text
    assert page.text.count('name="wanted"') == 5
    assert "Form Filler" not in page.text
    answer = client.post(alice.preferences, data={"wanted": alice.value(Topic.FEEDBACK)})
    assert answer.status_code == 303
    assert alice.wanted() == {Topic.FEEDBACK}


def test_the_page_asks_strangers_to_sign_in(client: FlaskClient, cast: Cast) -> None:
    answer = client.get("/account/notices/")
    assert answer.status_code == 302
    assert "/sign-in" in answer.headers["Location"]
