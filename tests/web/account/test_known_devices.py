"""A sign-in on a new device is told by mail; the first one, and one that is known, are not."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal import clock
from portal.account import known_devices
from portal.account.models import UserSession
from portal.account.security_models import KnownDevice
from portal.database import db, transaction
from portal.notices.models import Notice
from tests.cast import PASSWORD, Cast
from tests.conftest import csrf_token
from tests.web.account.pages import invite_somebody, mails, send

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36"


def arrive(client: FlaskClient, email: str, agent: str = FIREFOX, address: str = "192.0.2.1") -> FlaskClient:
    client.environ_base.update({"HTTP_USER_AGENT": agent, "REMOTE_ADDR": address})
    token = csrf_token(client.get("/sign-in").text)
    assert client.post("/sign-in", data={"email": email, "password": PASSWORD, "csrf_token": token}).status_code == 302
    return client


def leave(client: FlaskClient) -> FlaskClient:
    send(client, "/sign-out", "/account/")
    return client


def test_the_first_device_is_no_news_and_the_next_one_is(app: Flask, cast: Cast) -> None:
    arrive(app.test_client(), cast.alice)
    assert mails(app) == []
    arrive(app.test_client(), cast.alice, CHROME)
    assert mails(app) == [("security_event", cast.alice)]
    with app.app_context():
        context = db.session.scalars(sa.select(Notice.context)).one()
    assert context["title"] == "New sign-in to your account"
    assert "Chrome on Linux" in context["what"]


def test_a_device_is_known_by_its_cookie_wherever_it_is_and_however_it_was_updated(app: Flask, cast: Cast) -> None:
    laptop = leave(arrive(app.test_client(), cast.alice))
    leave(arrive(laptop, cast.alice, FIREFOX.replace("140", "141"), "198.51.100.9"))
    assert mails(app) == []


def test_a_browser_that_forgets_its_cookies_is_known_at_its_place(app: Flask, cast: Cast) -> None:
    arrive(app.test_client(), cast.alice, address="2001:db8:1:2::1")
    arrive(app.test_client(), cast.alice, address="2001:db8:1:2::ffff")
    assert mails(app) == []
    arrive(app.test_client(), cast.alice, address="2001:db8:1:3::1")
    assert mails(app) == [("security_event", cast.alice)]


def test_a_token_that_is_somebody_elses_or_made_up_makes_no_device_known(app: Flask, cast: Cast) -> None:
    arrive(app.test_client(), cast.alice)
    shared = leave(arrive(app.test_client(), cast.bob, CHROME))
    arrive(shared, cast.alice, CHROME)
    assert mails(app) == [("security_event", cast.alice)]
    forged = app.test_client()
    forged.set_cookie("portal-device", "x" * 43)
    arrive(forged, cast.alice, "something else")
    assert len(mails(app)) == 2
    cookie = forged.get_cookie("portal-device")
    assert cookie is not None
    assert cookie.value != "x" * 43


def test_an_invitation_makes_the_first_device(app: Flask, cast: Cast) -> None:
    path = invite_somebody(app, cast.other_contract, "nina@foods.example.org")
    client = app.test_client()
    fine = "wandering oboe lampshade"
    send(client, path, name="Nina", password=fine)
    assert client.get("/account/").status_code == 200
    assert [kind for kind, _ in mails(app) if kind == "security_event"] == []


def test_nothing_about_the_place_can_be_read_back_and_old_devices_are_forgotten(app: Flask, cast: Cast) -> None:
    arrive(app.test_client(), cast.alice)
    with app.app_context(), transaction() as session:
        device = session.scalars(sa.select(KnownDevice)).one()
        assert "192.0.2.1" not in repr(vars(device))
        assert FIREFOX not in repr(vars(device))
        assert known_devices.sweep(clock.now()) == 0
        assert known_devices.sweep(clock.now() + known_devices.KEPT + timedelta(days=1)) == 1


@pytest.mark.parametrize("cookie", ["portal", "portal-device"])
def test_a_device_is_no_way_in(app: Flask, cast: Cast, cookie: str) -> None:
    """The device's cookie opens nothing without a session, and a session that has ended is not revived by it."""
    client = arrive(app.test_client(), cast.alice)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(UserSession).values(ended_at=clock.now()))
    client.delete_cookie("portal") if cookie == "portal-device" else None
    assert client.get("/account/").status_code == 302
