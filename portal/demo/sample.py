"""A small believable vendor: made once, on the first start of the demo, through the same functions that staff use."""

import json
import os
import secrets
import tempfile
import uuid
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask_security.utils import hash_password

from portal import clock
from portal.account import contacts, contracts, people, reminders, renewals
from portal.account.models import Contact, Contract, User
from portal.app import create_app
from portal.beta import terms
from portal.config import Settings
from portal.database import db, transaction
from portal.demo.private import write_private
from portal.demo.texts import (
    ANNOUNCEMENT,
    BETA_TERMS,
    CALL,
    FEEDBACK,
    FORM_FILLER,
    MACRO_STUDIO,
    MERGED,
    TAGS,
    VERDICTS,
    SampleItem,
    SampleRelease,
)
from portal.errors import PortalError
from portal.feedback import attachments, behalf, edits, merging, tags, triage, verdicts, votes, writing
from portal.feedback.access import viewer_of
from portal.feedback.loop_models import Answer
from portal.feedback.models import CallChannel, Item, ItemKind, Severity, Status, Visibility
from portal.notices import announcements
from portal.products.catalog import create_product
from portal.products.models import Product
from portal.releases import builds, drafts, publishing, scheduling
from portal.releases.models import Channel, Release
from portal.storage import store

BETA_MEGABYTES = 4
STABLE_KILOBYTES = 600


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in to the demo. `role` is how the demo's output names them."""

    role: str
    email: str
    name: str


ACCOUNTS = (
    Account("subscriber", "automation-lead@logistics.example.org", "Automation lead"),
    Account("colleague", "it-ops@logistics.example.org", "IT operations"),
    Account("lapsed", "planner@mill.example.org", "Production planner"),
    Account("customer", "editor@press.example.org", "Editorial desk"),
    Account("publisher", "release-manager@northwind.example.org", "Release manager"),
    Account("product", "product-manager@northwind.example.org", "Product manager"),
    Account("accounts", "account-manager@northwind.example.org", "Account manager"),
    Account("admin", "admin@northwind.example.org", "Administrator"),
)
STAFF_ROLES = ("publisher", "product", "accounts", "admin")
# People without a password in the output, who make the board and the lists believable.
OTHERS = {
    "foods": ("finance-automation@foods.example.org", "Finance automation"),
    "freight": ("dispatch@freight.example.org", "Dispatch systems"),
    "clinic": ("forms@clinic.example.org", "Forms office"),
}


def prepare(settings: Settings, state_file: Path, ports: dict[str, int]) -> dict[str, Any]:
    """Bring the demo's database up to date, fill it on the first start, and return what `demo.json` holds.

    Passwords are drawn and kept before anything else, and the data is one transaction: an interrupted first start is
    simply done again. Raises PortalError for a directory that holds a portal but no demo.
    """
    state = json.loads(state_file.read_text()) if state_file.exists() else {}
    app = create_app(settings)
    with app.app_context():
        from flask_migrate import upgrade

        upgrade()
        filled = db.session.scalar(sa.select(sa.exists(sa.select(Product.id)))) or False
        if filled and "accounts" not in state:
            raise PortalError(f"{settings.data_dir} holds a portal that is no demo. Choose another directory with --data.")
        if "accounts" not in state:
            state["accounts"] = [
                {"role": account.role, "email": account.email, "password": secrets.token_urlsafe(12)} for account in ACCOUNTS
            ]
        state["ports"] = ports
        write_private(state_file, json.dumps(state, indent=2))
        if not filled:
            with transaction():
                Vendor({account["email"]: account["password"] for account in state["accounts"]}, clock.now()).set_up()
        db.session.remove()
        db.engine.dispose()
    return dict(state)


class Vendor:
    """Sets up the sample vendor as of `now`."""

    def __init__(self, passwords: dict[str, str], now: datetime) -> None:
        self.passwords = passwords
        self.now = now
        self.people: dict[str, User] = {}

    def set_up(self) -> None:
        """Make everything. Old releases come before the contacts, so that only the current betas are mailed."""
        begin = self.ago(800)
        self._add_staff(begin)
        studio = create_product("macro-studio", "Macro Studio", summary="Records and runs macros on Windows.", actor=None, now=begin)
        filler = create_product("form-filler", "Form Filler", summary="Fills in forms from profiles.", actor=None, now=begin)
        for product in (studio, filler):
            terms.publish(product, BETA_TERMS, actor=self.people["publisher"], now=self.ago(60))
        self._publish(studio, MACRO_STUDIO[:-1])
        self._publish(filler, FORM_FILLER[:-1])
        self._sell(studio, filler)
        self._publish(studio, MACRO_STUDIO[-1:])
        self._publish(filler, FORM_FILLER[-1:])
        for role in ("subscriber", "colleague"):
            self._accept_terms(self.people[role], studio)
        for item in FEEDBACK:
            self._tell(studio, item)
        self._sort()
        self._judge(studio)
        advice = announcements.Words(studio.id, *ANNOUNCEMENT, audience="seats", topic=None)
        announcements.create(advice, actor=self.people["publisher"], now=self.ago(1))
        reminders.send_due(self.now)

    def ago(self, days: int) -> datetime:
        return self.now - timedelta(days=days)

    def _add_staff(self, now: datetime) -> None:
        for account in ACCOUNTS:
            if account.role in STAFF_ROLES:
                person = people.add_staff(account.email, account.name, [account.role], actor=None, now=now)
                self._know(account.role, person)

    def _know(self, role: str, person: User) -> None:
        """Remember a person by role, and give them the password that the demo prints."""
        self.people[role] = person
        password = self.passwords.get(person.email)
        if password is not None:
            person.password = hash_password(password)
            person.fs_uniquifier = uuid.uuid4().hex

    def _sell(self, studio: Product, filler: Product) -> None:
        """Make organisations, contracts and contacts: live, live, ending soon, lapsed, for the other product, and none."""
        self._contract("NW-2041", "Example Logistics", studio, 238, ("subscriber", "colleague"), renewed=1)
        self._contract("NW-2102", "Example Foods", studio, 260, ("foods",))
        ending = self._contract("NW-1988", "Example Freight", studio, 341, ("freight",))
        renewals.ask(ending, actor=self.people["freight"], now=self.ago(1))
        self._contract("NW-1873", "Example Mill", studio, 420, ("lapsed",))
        self._contract("NW-2210", "Example Clinic", filler, 90, ("clinic",))
        press = contracts.create_organization("Example Press", actor=self.people["accounts"], now=self.ago(300))
        account = next(account for account in ACCOUNTS if account.role == "customer")
        self._know("customer", people.add_customer(account.email, account.name, press, actor=self.people["accounts"], now=self.ago(300)))

    def _contract(
        self, number: str, organization: str, product: Product, started: int, roles: tuple[str, ...], *, renewed: int = 0
    ) -> Contract:
        """Make a contract whose running (or last) term started `started` days ago, after `renewed` earlier ones."""
        accounts = self.people["accounts"]
        first_day = (self.ago(started) - timedelta(days=365 * renewed)).date()
        made = self.ago(started + 365 * renewed)
        buyer = contracts.create_organization(organization, actor=accounts, now=made)
        contract = contracts.create_contract(
            number, buyer, product, first_day, time_zone="Europe/Berlin", region="Europe", actor=accounts, now=made
        )
        for _ in range(renewed):
            contracts.renew(contract, actor=accounts, now=self.ago(started + 20))
        known = {account.role: (account.email, account.name) for account in ACCOUNTS} | OTHERS
        for role in roles:
            email, name = known[role]
            contact = contacts.name_contact(contract, name=name, email=email, actor=accounts, now=made, invite=False)
            self._know(role, contact.user)
        return contract

    def _publish(self, product: Product, releases: tuple[SampleRelease, ...]) -> None:
        published: dict[str, Release] = {}
        for sample in sorted(releases, key=lambda release: -release.days_ago):
            when = self.ago(max(sample.days_ago, 0))
            beta = sample.expires_in is not None
            release = drafts.create_release(
                product, sample.version, Channel.BETA if beta else Channel.STABLE, summary=sample.summary, notes=sample.notes,
                what_to_test=sample.what_to_test, known_issues=sample.known_issues,
                expires_on=(self.now + timedelta(days=sample.expires_in)).date() if sample.expires_in else None,
                actor=self.people["publisher"], now=when,
            )  # fmt: skip
            self._build(product, release, "x64", "Windows 64-bit", when)
            if beta:
                self._build(product, release, "arm64", "Windows on Arm", when)
            if sample.days_ago < 0:
                scheduling.schedule(release.id, self.ago(sample.days_ago), actor=self.people["publisher"], now=when)
            else:
                published[sample.version] = publishing.publish_release(release.id, actor=self.people["publisher"], now=when)
        for sample in releases:
            if sample.withdrawn:
                self._withdraw(published[sample.version], sample.withdrawn, published[sample.safe])

    def _withdraw(self, release: Release, reason: str, safe: Release) -> None:
        assert safe.published_at is not None
        when = safe.published_at + timedelta(days=2)
        publishing.withdraw(release.id, reason, safe_release_id=safe.id, actor=self.people["publisher"], now=when)

    def _build(self, product: Product, release: Release, architecture: str, platform: str, when: datetime) -> None:
        """Make a real archive on the spot; its bulk is random, so that it is as large as it says."""
        bulk = BETA_MEGABYTES * 1_000_000 if release.channel is Channel.BETA else STABLE_KILOBYTES * 1000
        name = f"{product.name.replace(' ', '')}-{release.version}-{architecture}.zip"
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("README.txt", f"{product.name} {release.version} for {platform}. A sample file of the demo.\n")
                archive.writestr("payload.bin", os.urandom(bulk))
            file.seek(0)
            stored = store().write(file, 2 * bulk)
        builds.add_build(release.id, name, stored, platform=platform, actor=self.people["publisher"], now=when)

    def _accept_terms(self, person: User, product: Product) -> None:
        contact = db.session.scalars(sa.select(Contact).where(Contact.user_id == person.id)).one()
        current = terms.current(product.id)
        assert current is not None
        terms.accept(person, contact.contract_id, product.id, str(current.version), now=self.ago(40))

    def _tell(self, product: Product, sample: SampleItem) -> None:
        """Write an item, vote and comment as its people would, and answer it as staff would."""
        when = self.ago(sample.days_ago)
        item = writing.write(
            viewer_of(self.people[sample.author], when), product=product, kind=ItemKind(sample.kind), title=sample.title,
            body=sample.before or sample.body,
            visibility=Visibility.PRIVATE if sample.private else Visibility.SUBSCRIBERS,
            severity=Severity(sample.severity) if sample.severity else None, version=sample.beta, now=when,
        )  # fmt: skip
        self._add_to(item, sample, when)
        for role in sample.voters:
            votes.cast(viewer_of(self.people[role], when), item.id, now=when + timedelta(days=1))
        for number, (role, text) in enumerate(sample.comments, 1):
            self._comment(item, role, text, self.ago(max(1, 4 - number)))
        if sample.status:
            triage.answer(
                item.id, revision=item.revision, status=Status(sample.status), version=sample.version, reason=sample.reason,
                response=sample.response, release_id=self._release_id(product, sample.version),
                actor=self.people["product"], now=self.ago(sample.answered),
            )  # fmt: skip

    def _add_to(self, item: Item, sample: SampleItem, when: datetime) -> None:
        """Attach what came with the item, and change its description, as its author did an hour later."""
        name, content = sample.file
        if name:
            arrived = attachments.Arrived(name, store().write([content.encode()], 10_000))
            attachments.add([arrived], self.people[sample.author], item_id=item.id, now=when)
        if sample.before:
            later = when + timedelta(hours=1)
            viewer = viewer_of(self.people[sample.author], later)
            edits.edit(viewer, item.id, title=sample.title, body=sample.body, number=1, now=later)

    def _judge(self, product: Product) -> None:
        """Say of the current beta what its testers say."""
        for number, (item_id, version, role, answer, words) in enumerate(VERDICTS, 1):
            when, release_id = self.ago(number), self._release_id(product, version)
            assert release_id is not None
            verdicts.give(
                viewer_of(self.people[role], when), item_id, release_id, answer=Answer(answer), words=words, now=when
            )  # fmt: skip

    def _sort(self) -> None:
        """Do what the product team does with what was written: tag it, give it to somebody, merge it, note a caller's vote."""
        actor, when = self.people["product"], self.ago(1)
        for item_id, names in TAGS.items():
            for name in names:
                tags.add_tag(item_id, name, actor=actor, now=when)
        triage.assign(1, actor.id, seen=None, actor=actor, now=when)
        item, target = (db.session.get_one(Item, item_id) for item_id in MERGED)
        merging.merge(item.id, target.id, revisions=(item.revision, target.revision), actor=actor, now=when)
        item_id, number, words = CALL
        behalf.note_vote(item_id, number, channel=CallChannel.PHONE, words=words, actor=actor, now=when)

    def _comment(self, item: Item, role: str, text: str, when: datetime) -> None:
        if role in STAFF_ROLES:
            triage.add_note(item.id, text, staff_only=False, actor=self.people[role], now=when)
        else:
            writing.comment(viewer_of(self.people[role], when), item.id, text, now=when)

    @staticmethod
    def _release_id(product: Product, version: str) -> int | None:
        return db.session.scalar(sa.select(Release.id).where(Release.product_id == product.id, Release.version == version))
