"""Small helpers to use the account's pages the way a browser does."""

import re
from collections.abc import Callable
from html import unescape

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal import clock, tokens
from portal.account import contacts, contracts, invitations
from portal.account.models import Invitation, User
from portal.config import Settings
from portal.database import db, transaction
from portal.notices import kinds
from portal.notices.models import Delivery, Notice
from tests.conftest import csrf_token

SignIn = Callable[[str], FlaskClient]


def send(client: FlaskClient, url: str, page: str | None = None, **data: str) -> TestResponse:
    """Open `page` (by default `url` itself) for its CSRF token, then send a form to `url`."""
    token = csrf_token(client.get(page or url).get_data(as_text=True))
    return client.post(url, data={"csrf_token": token, **data})


def try_password(client: FlaskClient, email: str, password: str) -> TestResponse:
    return send(client, "/sign-in", email=email, password=password)


def text_of(answer: TestResponse) -> str:
    """What a reader sees, without markup, tokens and runs of spaces."""
    main = answer.get_data(as_text=True).partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def mails(app: Flask) -> list[tuple[str, str]]:
    """Kind and address of everything in the outbox, in order."""
    with app.app_context():
        rows = db.session.execute(
            sa.select(Notice.kind, Delivery.address).join(Delivery, Delivery.notice_id == Notice.id).order_by(Delivery.id)
        )
        found = [(kind, address) for kind, address in rows]
        db.session.remove()
    return found


def link_in_newest(app: Flask, kind: str, name: str) -> str:
    """The path of the link that the newest mail of `kind` would carry if it were sent now, under `name` in its template."""
    settings: Settings = app.extensions["portal.settings"]
    with app.app_context():
        newest = sa.select(Delivery).join(Notice, Notice.id == Delivery.notice_id).where(Notice.kind == kind).order_by(Delivery.id.desc())
        delivery = db.session.scalars(newest).first()
        assert delivery is not None
        personal, now = kinds.find(kind).personal, clock.now()
        assert personal is not None
        due = kinds.Due(delivery.id, delivery.user_id, delivery.address, delivery.name, now)
        link = str(personal(delivery.notice, due, now)[name])
        db.session.remove()
    assert link.startswith(settings.public_url)
    return link.removeprefix(settings.public_url)


def invite_somebody(app: Flask, number: str, email: str, name: str = "Nina Example") -> str:
    """Name a person to a seat and return the path of the invitation's link."""
    settings: Settings = app.extensions["portal.settings"]
    with app.app_context():
        with transaction():
            contacts.name_contact(contracts.find_contract(number), name=name, email=email, actor=None, now=clock.now())
            nonce = db.session.scalars(sa.select(Invitation.nonce).order_by(Invitation.id.desc())).first()
            assert nonce is not None
        db.session.remove()
    return f"/account/invitations/{tokens.derive_token(settings.secret_key, invitations.PURPOSE, nonce)}"


def change_user(app: Flask, email: str, **values: object) -> None:
    with app.app_context():
        with transaction() as session:
            session.execute(sa.update(User).where(User.email == email).values(**values))
        db.session.remove()


def read_user(app: Flask, email: str) -> User:
    with app.app_context():
        person = db.session.scalars(sa.select(User).where(User.email == email)).one()
        db.session.expunge(person)
        db.session.remove()
    return person
