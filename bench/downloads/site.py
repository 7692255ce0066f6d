"""A portal with a beta in it, and people who may have it: 2 seats to a contract, each with a token for downloads."""

import os
import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import flask_migrate
from flask import Flask
from flask_security.utils import hash_password

from portal import clock, storage
from portal.account import access_tokens, contacts, contracts, people
from portal.account.models import Role
from portal.app import create_app
from portal.config import Settings, read
from portal.database import db, transaction
from portal.products.models import Product
from portal.releases import builds, drafts, publishing
from portal.releases.models import Channel

PASSWORD = "for a benchmark on one machine"
PAGE = "/beta/macro-studio/15.3b2/"
FILE = f"{PAGE}download/macro-studio.bin"
DRAFT = "/staff/releases/macro-studio/15.4b1/"
BLOCK = 1 << 20


@dataclass(frozen=True)
class Site:
    """What the benchmark needs to know of the portal. `tokens` are of different people; the cookies are of sessions."""

    environment: dict[str, str]
    stored: Path
    tokens: list[str]
    subscriber: str
    manager: str


def make(folder: Path, size: int, contract_count: int) -> Site:
    """Make a portal in `folder` with a build of `size` bytes that cannot be compressed, and an empty draft."""
    environment = {"DATA_DIR": str(folder), "SECRET_KEY": secrets.token_urlsafe(48), "SIGN_IN_LIMIT": "1000 per minute"}
    app = create_app(read(environment).check())
    settings: Settings = app.extensions["portal.settings"]
    with app.app_context():
        flask_migrate.upgrade()
        tokens, subscriber, manager = _people(contract_count)
        sha256 = _releases(size)
        db.session.remove()
    site = Site(
        environment, settings.builds_dir / storage.key(sha256), tokens, _signed_in(app, subscriber), _signed_in(app, manager)
    )  # fmt: skip
    with app.app_context():
        db.engine.dispose()
    return site


def _people(contract_count: int) -> tuple[list[str], str, str]:
    """Return the tokens of all, and the addresses of a subscriber and of a release manager who can sign in."""
    now = clock.now()
    tokens = []
    with transaction() as session:
        product = Product(slug="macro-studio", name="Macro Studio", created_at=now)
        session.add(product)
        manager = people.find_or_add_person("manager@example.org", "Manager", None, now=now)
        manager.roles.append(Role(name="publisher"))
        manager.password = hash_password(PASSWORD)
        for number in range(contract_count):
            buyer = contracts.create_organization(f"Organisation {number}", actor=None, now=now)
            contract = contracts.create_contract(
                f"NW-{number:04d}", buyer, product, now.date() - timedelta(days=30), time_zone="Europe/Berlin", actor=None, now=now
            )  # fmt: skip
            for seat in "ab":
                contact = contacts.name_contact(
                    contract, name="A tester", email=f"tester-{number}{seat}@example.org", actor=None, now=now, invite=False
                )  # fmt: skip
                contact.user.password = manager.password
                tokens.append(access_tokens.create(contact.id, "aria2c", actor=contact.user, now=now))
    return tokens, "tester-0a@example.org", "manager@example.org"


def _releases(size: int) -> str:
    """Publish the beta, make the draft, and return the digest of the beta's build."""
    now = clock.now()
    blocks = [os.urandom(BLOCK) for _ in range(8)]
    content = (blocks[number % 8][: size - number * BLOCK] for number in range(-(-size // BLOCK)))
    with transaction():
        product = db.session.query(Product).one()
        beta = drafts.create_release(
            product, "15.3b2", Channel.BETA, notes="* Faster\n" * 20, known_issues="", what_to_test="Record a macro.",
            expires_on=None, actor=None, now=now,
        )  # fmt: skip
        stored = storage.store().write(content, size)
        builds.add_build(beta.id, "macro-studio.bin", stored, platform="Windows", actor=None, now=now)
        publishing.publish_release(beta.id, actor=None, now=now)
        drafts.create_release(
            product, "15.4b1", Channel.BETA, notes="", known_issues="", what_to_test="", expires_on=None, actor=None, now=now
        )  # fmt: skip
    return stored.sha256


def _signed_in(app: Flask, email: str) -> str:
    """Sign in by the form and return the cookie."""
    client = app.test_client()
    token = csrf_token(client.get("/sign-in").get_data(as_text=True))
    answer = client.post("/sign-in", data={"email": email, "password": PASSWORD, "csrf_token": token})
    cookie = client.get_cookie("portal")
    assert answer.status_code == 302, answer.status_code
    assert cookie is not None
    return f"portal={cookie.value}"


def csrf_token(page: str) -> str:
    return page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
