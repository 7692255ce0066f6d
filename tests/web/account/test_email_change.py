"""Another email address: confirmed at the old and the new one, and telling nobody who has an account."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import email_changes, opt_in
from portal.account.models import User
from portal.account.security_models import EmailChange
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import suppression
from portal.notices.delivery import deliver_due
from portal.notices.models import Delivery, DeliveryState, Notice, Topic
from portal.products.catalog import find_product
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.smtp import MailServer
from tests.web.account.pages import SignIn, change_user, link_in_newest, mails, read_user, send, text_of, try_password

NEW = "alice@new.example.org"
PAGE = "/account/email/"


def ask(client: FlaskClient, email: str = NEW) -> None:
    answer = send(client, PAGE, email=email)
    assert (answer.status_code, answer.location) == (302, PAGE), text_of(answer)


def link(app: Flask, side: str) -> str:
    return link_in_newest(app, side, "confirm_url")


def confirm(app: Flask, path: str, answer: str = "confirm") -> str:
    client = app.test_client()
    send(client, path, answer=answer)
    return text_of(client.get(path))


def test_both_addresses_confirm_and_only_then_it_is_changed(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    ask(alice)
    assert mails(app) == [("email_change_old", cast.alice), ("email_change_new", NEW)]
    page = text_of(alice.get(PAGE))
    assert f"{cast.alice} Your address now Not yet confirmed" in page
    old, new = link(app, "email_change_old"), link(app, "email_change_new")
    for path in (old, new):
        app.test_client().get(path)  # opening changes nothing
    assert "One more step" in confirm(app, old)
    assert f"{cast.alice} Your address now Confirmed" in text_of(alice.get(PAGE))
    assert read_user(app, cast.alice).email == cast.alice
    assert f"The address is {NEW} now" in confirm(app, new)
    assert alice.get("/account/").status_code == 302
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 200
    assert try_password(app.test_client(), NEW, PASSWORD).status_code == 302
    assert mails(app)[2:] == [("security_event", cast.alice), ("security_event", NEW)]
    assert "The address is" in confirm(app, old)  # a second press changes nothing
    assert len(mails(app)) == 4


@pytest.mark.parametrize("sides", [("email_change_old",), ("email_change_new",), ("email_change_old", "email_change_old")])
def test_one_side_alone_changes_nothing(app: Flask, cast: Cast, sign_in: SignIn, sides: tuple[str, ...]) -> None:
    ask(sign_in(cast.alice))
    for side in sides:
        confirm(app, link(app, side))
    assert try_password(app.test_client(), cast.alice, PASSWORD).status_code == 302


def test_it_can_be_cancelled_here_and_from_either_mail(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for way in ("page", "email_change_old", "email_change_new"):
        ask(alice)
        old, new = link(app, "email_change_old"), link(app, "email_change_new")
        if way == "page":
            assert send(alice, "/account/email/cancel", PAGE).status_code == 302
        else:
            confirm(app, old if way == "email_change_old" else new, "refuse")
        for path in (old, new):
            assert app.test_client().get(path).status_code == 410
            assert "was cancelled" in confirm(app, path)
        assert "waits to be confirmed" not in text_of(alice.get(PAGE))
    assert read_user(app, cast.alice).email == cast.alice


@pytest.mark.parametrize("what", ["expired", "new password", "reset", "closed account", "asked again"])
def test_links_die(app: Flask, cast: Cast, sign_in: SignIn, what: str) -> None:
    alice = sign_in(cast.alice)
    ask(alice)
    old, new = link(app, "email_change_old"), link(app, "email_change_new")
    confirm(app, old)
    fine = "another correct horse battery"
    if what == "expired":
        with app.app_context(), transaction() as session:
            session.execute(sa.update(EmailChange).values(expires_at=clock.now()))
    elif what == "new password":
        send(alice, "/account/password/change", password=PASSWORD, new_password=fine, new_password_confirm=fine)
    elif what == "reset":
        send(app.test_client(), "/account/password/reset", email=cast.alice)
        send(app.test_client(), link_in_newest(app, "password_reset", "reset_url"), password=fine, password_confirm=fine)
    elif what == "closed account":
        change_user(app, cast.alice, active=False)
    else:
        ask(alice, "other@new.example.org")
    confirm(app, new)
    assert app.test_client().get(new).status_code == 410
    assert read_user(app, cast.alice).email == cast.alice


def test_the_answer_does_not_tell_who_has_an_account(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    change_user(app, cast.dave, active=False)
    with app.app_context(), transaction():
        suppression.add("gone@new.example.org", "550 unknown", now=clock.now())
    pages = set()
    for email in (NEW, cast.bob, cast.dave, cast.petra, "gone@new.example.org"):
        client = sign_in(cast.alice)
        ask(client, email)
        page = text_of(client.get(PAGE))
        pages.add(page.replace(email, "ADDRESS").partition("by ")[0] + page.partition("after that")[2].replace(email, "ADDRESS"))
    assert len(pages) == 1
    told = {address for kind, address in mails(app) if kind == "email_change_taken"}
    assert told == {cast.bob, cast.petra}
    assert {address for kind, address in mails(app) if kind == "email_change_new"} == {NEW, "gone@new.example.org"}


def test_a_suppressed_address_is_confirmed_by_its_link_and_mail_goes_there_again(
    app: Flask, cast: Cast, sign_in: SignIn, settings: Settings
) -> None:
    with app.app_context(), transaction():
        suppression.add(NEW, "550 unknown", now=clock.now())
    ask(sign_in(cast.alice))
    for side in ("email_change_old", "email_change_new"):
        confirm(app, link(app, side))
    with app.app_context():
        assert suppression.suppressed([NEW]) == {}
        assert db.session.scalar(sa.select(User.email).where(User.email == NEW)) == NEW


def test_an_address_that_was_taken_meanwhile_is_refused(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    ask(sign_in(cast.alice))
    confirm(app, link(app, "email_change_old"))
    with app.app_context(), transaction() as session:
        session.execute(sa.update(User).where(User.email == cast.erin).values(email=NEW))
    answer = send(app.test_client(), link(app, "email_change_new"), answer="confirm")
    assert answer.status_code == 409
    assert read_user(app, cast.alice).email == cast.alice
    assert mails(app)[2:] == []


def test_an_address_typed_into_a_public_form_makes_way(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context(), transaction():
        opt_in.ask_address(NEW, "", find_product(cast.product), [Topic.POINT], now=clock.now())
    ask(sign_in(cast.alice))
    for side in ("email_change_old", "email_change_new"):
        confirm(app, link(app, side))
    assert try_password(app.test_client(), NEW, PASSWORD).status_code == 302


def test_waiting_mail_follows_and_word_to_the_old_address_does_not(
    app: Flask, cast: Cast, sign_in: SignIn, mail_server: MailServer
) -> None:
    send(app.test_client(), "/account/password/reset", email=cast.alice)
    ask(sign_in(cast.alice))
    for side in ("email_change_old", "email_change_new"):
        confirm(app, link(app, side))
    with app.app_context():
        waiting = db.session.execute(
            sa.select(Notice.kind, Delivery.address)
            .join(Delivery, Delivery.notice_id == Notice.id)
            .where(Delivery.state == DeliveryState.QUEUED)
            .order_by(Delivery.id)
        ).all()
    assert waiting[0] == ("password_reset", NEW)
    assert waiting[-2:] == [("security_event", cast.alice), ("security_event", NEW)]


def test_a_link_goes_to_the_address_it_proves_and_to_no_other(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    ask(sign_in(cast.alice))
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(Delivery).values(address=cast.alice, domain="logistics.example.org"))
        deliver_due()
        skipped = db.session.scalars(sa.select(Delivery.reason).where(Delivery.state == DeliveryState.SKIPPED)).all()
    assert skipped == ["meant for another address"]


@pytest.mark.parametrize(
    ("email", "says"),
    [
        ("no address", "no complete email address"),
        ("", "Enter an email address"),
        ("ALICE@logistics.example.org", "is your address already"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_the_reason(cast: Cast, sign_in: SignIn, email: str, says: str) -> None:
    answer = send(sign_in(cast.alice), PAGE, email=email)
    assert answer.status_code == 422
    assert says in text_of(answer) or "@" in text_of(answer)


def test_so_many_changes_a_day(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    for number in range(email_changes.MOST_PER_DAY):
        ask(alice, f"alice{number}@new.example.org")
    answer = send(alice, PAGE, email=NEW)
    assert answer.status_code == 422
    assert "Wait until tomorrow" in text_of(answer)


@pytest.mark.parametrize("token", ["x", "x" * 500, "a%00b"])
def test_a_made_up_link_is_not_found(client: FlaskClient, token: str) -> None:
    assert client.get(f"/account/email/confirm/{token}").status_code == 404


def test_both_sides_and_a_cancellation_at_once_end_in_one_way(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    alice = sign_in(cast.alice)
    ask(alice)
    old, new = link(app, "email_change_old"), link(app, "email_change_new")
    presses = [(path, app.test_client(), answer) for path, answer in ((old, "refuse"), *[(old, "confirm"), (new, "confirm")] * 3)]
    tokens = [csrf_token(client.get(path).text) for path, client, _ in presses]

    def press(number: int) -> int:
        path, client, answer = presses[number]
        return client.post(path, data={"csrf_token": tokens[number], "answer": answer}).status_code

    with ThreadPoolExecutor(7) as pool:
        refused, *confirmed = pool.map(press, range(len(presses)))
    assert set(confirmed) == {302}
    assert refused in {302, 409}
    with app.app_context():
        outcome = db.session.scalar(sa.select(EmailChange.outcome))
        changed = db.session.scalar(sa.select(User.id).where(User.email == NEW)) is not None
        told = db.session.scalar(sa.select(sa.func.count()).select_from(Notice).where(Notice.kind == "security_event"))
    assert (outcome, changed, told) in {("done", True, 2), ("cancelled", False, 0)}


def test_old_changes_are_forgotten(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    ask(sign_in(cast.alice))
    with app.app_context(), transaction():
        later = clock.now() + email_changes.LASTS + email_changes.KEPT
        assert email_changes.sweep(later - timedelta(minutes=1)) == 0
        assert email_changes.sweep(later + timedelta(minutes=1)) == 1
