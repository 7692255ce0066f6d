"""A copy of one's data, and being erased, from the pages."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from portal.account.models import User
from portal.config import Settings
from portal.database import db, transaction
from portal.feedback.writing_models import Attachment
from portal.notices import links
from portal.notices.models import Subscription, Topic
from portal.products.catalog import find_product
from portal.storage import store
from tests import board
from tests.cast import PASSWORD, Cast
from tests.conftest import NOW, csrf_token

SignIn = Callable[[str], FlaskClient]


def test_a_person_gets_a_copy_of_what_is_kept_about_them(cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    page = client.get("/account/data/").get_data(as_text=True)
    answer = client.post("/account/data/copy", data={"csrf_token": csrf_token(page)})
    assert answer.mimetype == "application/zip"
    archive = zipfile.ZipFile(BytesIO(answer.data))
    account = json.loads(archive.read("account.json"))
    assert (account["email"], account["organization"]) == (cast.alice, "Example Logistics")
    seats = json.loads(archive.read("contacts.json"))
    assert [seat["contract"] for seat in seats] == [cast.contract]
    whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert cast.bob not in whole, "nothing about anybody else"
    assert PASSWORD not in whole
    assert "argon2" not in whole


def test_staff_erase_a_person_by_typing_the_address(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    with app.app_context():
        erin = db.session.scalars(sa.select(User.id).where(User.email == cast.erin)).one()
        alice = db.session.scalars(sa.select(User.id).where(User.email == cast.alice)).one()
    client = sign_in(cast.anton)
    url = f"/staff/customers/{erin}/erase"
    token = csrf_token(client.get(url).get_data(as_text=True))
    assert client.post(url, data={"csrf_token": token, "address": "somebody@example.org"}).status_code == 400
    assert client.post(url, data={"csrf_token": token, "address": cast.erin.upper()}).status_code == 303
    assert client.get(url).status_code == 404
    assert cast.erin not in client.get("/staff/customers/").get_data(as_text=True)
    blocked = client.get(f"/staff/customers/{alice}/erase").get_data(as_text=True)
    assert "holds a seat of NW-2041" in blocked
    assert client.post(f"/staff/customers/{alice}/erase", data={"csrf_token": token, "address": cast.alice}).status_code == 400


def test_an_erased_person_is_signed_out_and_cannot_sign_in_again(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    mine, anton = sign_in(cast.erin), sign_in(cast.anton)
    with app.app_context():
        erin = db.session.scalars(sa.select(User.id).where(User.email == cast.erin)).one()
    url = f"/staff/customers/{erin}/erase"
    token = csrf_token(anton.get(url).get_data(as_text=True))
    anton.post(url, data={"csrf_token": token, "address": cast.erin})
    assert mine.get("/account/").status_code == 302
    fresh = app.test_client()
    token = csrf_token(fresh.get("/sign-in").get_data(as_text=True))
    answer = fresh.post("/sign-in", data={"email": cast.erin, "password": PASSWORD, "csrf_token": token})
    assert answer.status_code != 302


def test_links_in_old_mails_of_an_erased_person_lead_nowhere(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    settings: Settings = app.extensions["portal.settings"]
    with app.app_context():
        erin = db.session.scalars(sa.select(User.id).where(User.email == cast.erin)).one()
        product = find_product(cast.product).id
        db.session.remove()
    pages = [
        urlsplit(links.preferences_url(settings, erin, product)).path,
        urlsplit(links.unsubscribe_url(settings, erin, product, Topic.MAJOR)).path,
    ]
    assert [app.test_client().get(page).status_code for page in pages] == [200, 200]
    anton, url = sign_in(cast.anton), f"/staff/customers/{erin}/erase"
    anton.post(url, data={"csrf_token": csrf_token(anton.get(url).text), "address": cast.erin})
    assert [app.test_client().get(page).status_code for page in pages] == [404, 404]
    assert [app.test_client().post(page).status_code for page in pages] == [404, 404]
    with app.app_context():
        assert db.session.scalars(sa.select(Subscription).where(Subscription.user_id == erin)).all() == []


def test_the_copy_holds_the_files_that_were_attached(app: Flask, cast: Cast, sign_in: SignIn) -> None:
    client = sign_in(cast.alice)
    with app.app_context():
        item_id = board.write(cast.alice)
        with transaction() as session:
            alice = session.scalars(sa.select(User).where(User.email == cast.alice)).one()
            stored = store().write([b"one line of a log"], 100)
            session.add(
                Attachment(
                    item_id=item_id,
                    organization_id=alice.organization_id,
                    user_id=alice.id,
                    filename="log.txt",
                    size=stored.size,
                    sha256=stored.sha256,
                    created_at=NOW,
                )
            )
        db.session.remove()
    token = csrf_token(client.get("/account/data/").get_data(as_text=True))
    archive = zipfile.ZipFile(BytesIO(client.post("/account/data/copy", data={"csrf_token": token}).data))
    [name] = [name for name in archive.namelist() if name.startswith("files/")]
    assert name.endswith("-log.txt")
    assert archive.read(name) == b"one line of a log"
    assert json.loads(archive.read("feedback_items.json"))[0]["title"] == "Pause a macro"
