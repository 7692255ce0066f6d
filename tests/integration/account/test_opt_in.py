"""Who is asked whether they want release notices, who is forgotten again, and that nobody is ever subscribed behind their back."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from flask import Flask

from portal import tokens
from portal.account import contacts, contracts, imports, invitations, opt_in, people
from portal.account.cli import customer
from portal.account.models import Contact, Contract, Invitation, User
from portal.config import current_settings
from portal.database import db, transaction
from portal.errors import NotFound
from portal.notices import requests, subscriptions, suppression
from portal.notices.kinds import Due
from portal.notices.kinds import find as find_kind
from portal.notices.models import Delivery, DeliveryState, Notice, Subscription, SubscriptionRequest, Topic
from portal.products.catalog import find_product
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")
LATER = NOW + timedelta(days=7, hours=1)


@pytest.fixture
def product(cast: Cast) -> Product:
    return find_product(cast.product)


def person(email: str) -> User:
    return db.session.scalars(sa.select(User).where(User.email == email)).one()


def rows(email: str) -> dict[Topic, bool]:
    return dict(
        db.session.execute(
            sa.select(Subscription.topic, Subscription.wanted)
            .join(User, User.id == Subscription.user_id)
            .where(User.email == email)
            .order_by(Subscription.topic)
        ).all()
    )


def asked() -> list[str]:
    """The addresses that were asked by mail, in order."""
    mailed = sa.select(Delivery.address).join(Notice, Notice.id == Delivery.notice_id).where(Notice.kind == requests.KIND)
    return list(db.session.scalars(mailed.order_by(Delivery.id)))


def ask_address(email: str, product: Product, *topics: Topic) -> None:
    with transaction():
        opt_in.ask_address(email, "", find_product(product.slug), topics or subscriptions.OPEN_TOPICS, now=NOW)


def token_of(email: str) -> str:
    """The token that stands in the newest mail to this address."""
    request = db.session.scalars(
        sa.select(SubscriptionRequest)
        .join(User, User.id == SubscriptionRequest.user_id)
        .where(User.email == email)
        .order_by(SubscriptionRequest.id.desc())
    ).first()
    assert request is not None
    notice = db.session.get_one(Notice, request.notice_id)
    personal = find_kind(requests.KIND).personal
    assert personal is not None
    return str(personal(notice, Due(1, request.user_id, email, "", NOW), NOW)["confirm_url"]).rpartition("/")[2]


def confirm(email: str) -> None:
    with transaction():
        requests.confirm(token_of(email), now=NOW)


def settle_all() -> None:
    with transaction():
        db.session.execute(sa.update(Delivery).values(state=DeliveryState.SENT, next_attempt_at=None, settled_at=NOW))


# Forgetting ----------------------------------------------------------------------------------------------------------------------


def test_whoever_never_confirmed_is_forgotten_without_a_trace_once_the_request_expired(cast: Cast, product: Product) -> None:
    before = db.session.scalar(sa.select(sa.func.count()).select_from(User))
    ask_address("new@example.org", product)
    ask_address("new@example.org", product)
    settle_all()
    with transaction() as session:
        session.execute(sa.text("UPDATE deliveries SET reply = '550 5.1.1 no such user'"))
        suppression.add("new@example.org", "550 5.1.1 no such user", now=NOW)
    with transaction():
        assert opt_in.sweep(NOW + timedelta(days=6)) == 0
    with transaction():
        assert opt_in.sweep(LATER) == 1
    assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == before
    for model in (Delivery, Notice, SubscriptionRequest):
        assert db.session.scalar(sa.select(sa.func.count()).select_from(model)) == 0


def _confirm(product: Product) -> None:
    confirm("new@example.org")


def _import(product: Product) -> None:
    imports.import_customers([(2, {"email": "new@example.org", "name": "", "organization": ""})], now=NOW)


def _add(product: Product) -> None:
    people.add_customer(
        "new@example.org", "Nora", contracts.find_or_create_organization("Example Press", actor=None, now=NOW), actor=None, now=NOW
    )


def _name(product: Product) -> None:
    contacts.name_contact(contracts.find_contract("NW-2042"), name="Nora", email="new@example.org", actor=None, now=NOW, invite=False)


def _hire(product: Product) -> None:
    people.add_staff("new@example.org", "Nora", ["product"], actor=None, now=NOW)


@pytest.mark.parametrize("keep", [_confirm, _import, _add, _name, _hire])
def test_whoever_confirmed_or_was_taken_over_by_staff_is_kept(cast: Cast, product: Product, keep: Callable[[Product], None]) -> None:
    ask_address("new@example.org", product)
    settle_all()
    if keep is _confirm:
        keep(product)
    else:
        with transaction():
            keep(product)
    with transaction():
        assert opt_in.sweep(LATER) == 0
    assert not person("new@example.org").provisional


def test_a_mail_still_under_way_keeps_its_person(cast: Cast, product: Product) -> None:
    ask_address("new@example.org", product)
    with transaction():
        assert opt_in.sweep(LATER) == 0
    settle_all()
    with transaction():
        assert opt_in.sweep(LATER) == 1


def test_people_of_the_vendor_and_its_customers_are_never_swept(cast: Cast, product: Product) -> None:
    with transaction():
        opt_in.ask_customers([cast.erin], product, actor=None, now=NOW)
    settle_all()
    with transaction():
        assert opt_in.sweep(LATER) == 0
    assert person(cast.erin).active


def test_a_name_from_the_form_gives_way_to_that_of_staff(cast: Cast, product: Product) -> None:
    with transaction():
        opt_in.ask_address("new@example.org", "Not my name", find_product(product.slug), [Topic.MINOR], now=NOW)
    with transaction():
        _add(product)
    assert person("new@example.org").name == "Nora"


# Asking customers -----------------------------------------------------------------------------------------------------------------


def import_file(tmp_path: Path, app: Flask, emails: list[str], *options: str) -> str:
    file = tmp_path / "people.csv"
    file.write_text("email,name,organization\n" + "".join(f"{email},,Example Press\n" for email in emails))
    result = CliRunner().invoke(customer.commands["import"], [str(file), *options], obj=None)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_import_subscribes_nobody_and_asks_nobody_unless_told_to(app: Flask, cast: Cast, product: Product, tmp_path: Path) -> None:
    assert import_file(tmp_path, app, ["pia@press.example.org"]) == "1 person added, 0 known already.\n"
    assert asked() == []
    assert rows("pia@press.example.org") == {}
    output = import_file(tmp_path, app, ["pia@press.example.org", "pit@press.example.org", cast.erin], "--ask", cast.product)
    assert output == "1 person added, 2 known already.\n3 mails ask whether release notices are wanted.\n"
    assert sorted(asked()) == [cast.erin, "pia@press.example.org", "pit@press.example.org"]
    assert rows("pia@press.example.org") == {}
    assert "mail" not in import_file(tmp_path, app, ["pia@press.example.org", cast.erin], "--ask", cast.product)
    assert len(asked()) == 3
    confirm("pia@press.example.org")
    assert rows("pia@press.example.org") == {Topic.MINOR: True, Topic.MAJOR: True}


def test_a_product_that_is_none_imports_nothing(app: Flask, cast: Cast, product: Product, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("email,name,organization\npia@press.example.org,,Example Press\n")
    result = CliRunner().invoke(customer.commands["import"], [str(file), "--ask", "nothing"])
    assert isinstance(result.exception, NotFound)
    assert people.find_person("pia@press.example.org") is None


def test_a_dry_run_asks_nobody(app: Flask, cast: Cast, product: Product, tmp_path: Path) -> None:
    import_file(tmp_path, app, ["pia@press.example.org"], "--ask", cast.product, "--dry-run")
    assert asked() == []


def test_customers_are_asked_once_and_not_after_a_choice_or_at_a_dead_address(cast: Cast, product: Product) -> None:
    with transaction():
        alice, bob, carol, frank = (person(email) for email in (cast.alice, cast.bob, cast.carol, cast.frank))
        subscriptions.choose(alice.id, product.id, Topic.POINT, wanted=False, now=NOW)
        subscriptions.choose(bob.id, product.id, Topic.MAJOR, wanted=True, now=NOW)
        suppression.add(carol.email, "550", now=NOW)
        frank.active = False
    everybody = list(db.session.scalars(sa.select(User.email)))
    with transaction():
        assert opt_in.ask_customers([*everybody, "nobody@example.org"], product, actor=None, now=NOW) == 2
    assert sorted(asked()) == [cast.dave, cast.erin]
    with transaction():
        assert opt_in.ask_customers(everybody, product, actor=None, now=LATER) == 0


def test_one_mail_of_many_carries_each_persons_own_link(cast: Cast, product: Product) -> None:
    with transaction():
        opt_in.ask_customers([cast.erin, cast.dave], product, actor=None, now=NOW)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Notice)) == 1
    assert token_of(cast.erin) != token_of(cast.dave)
    confirm(cast.erin)
    assert rows(cast.dave).get(Topic.MINOR) is None
    assert rows(cast.erin) == {Topic.MINOR: True, Topic.MAJOR: True}


# The second of sending ----------------------------------------------------------------------------------------------------------


def refusals(email: str) -> list[str]:
    request = db.session.scalars(
        sa.select(SubscriptionRequest).join(User, User.id == SubscriptionRequest.user_id).where(User.email == email)
    ).one()
    notice = db.session.get_one(Notice, request.notice_id)
    found = find_kind(requests.KIND).check(notice, [Due(7, request.user_id, email, "", NOW)], NOW)
    return list(found.values())


def test_a_link_that_would_lead_nowhere_is_not_sent(cast: Cast, product: Product) -> None:
    ask_address(cast.erin, product)
    assert refusals(cast.erin) == []
    confirm(cast.erin)
    assert refusals(cast.erin) == [requests.NOT_OPEN]


def test_a_link_is_not_sent_to_an_account_closed_since(cast: Cast, product: Product) -> None:
    ask_address(cast.erin, product)
    with transaction():
        person(cast.erin).active = False
    assert refusals(cast.erin) == [requests.NOT_OPEN]


@pytest.mark.parametrize(("by_vendor", "expected"), [(True, [requests.SUPPRESSED]), (False, [])])
def test_the_vendor_writes_to_no_dead_address_and_whoever_asks_for_it_is_written_to(
    cast: Cast, product: Product, by_vendor: bool, expected: list[str]
) -> None:
    if by_vendor:
        with transaction():
            opt_in.ask_customers([cast.erin], product, actor=None, now=NOW)
    else:
        ask_address(cast.erin, product)
    with transaction():
        suppression.add(cast.erin, "550", now=NOW)
    assert refusals(cast.erin) == expected


# Behind nobody's back -----------------------------------------------------------------------------------------------------------


NO = {Topic.BETA: False, Topic.POINT: False, Topic.FEEDBACK: False, Topic.MINOR: False, Topic.MAJOR: False}


def contract_of(cast: Cast) -> Contract:
    return contracts.find_contract(cast.contract)


def seat_of(cast: Cast) -> Contact:
    return next(contact for contact in contacts.live_contacts(contract_of(cast).id) if contact.user.email == cast.alice)


def renew(cast: Cast) -> None:
    contracts.renew(contract_of(cast), actor=None, now=NOW)


def suspend_and_resume(cast: Cast) -> None:
    contracts.suspend(contract_of(cast), actor=None, now=NOW)
    contracts.resume(contract_of(cast), actor=None, now=NOW)


def import_again(cast: Cast) -> None:
    row = {"email": cast.alice, "name": "Alice", "organization": "Example Logistics"}
    for _ in range(2):
        imports.import_customers([(2, row)], ask=[find_product(cast.product)], now=NOW)


def edit_profile(cast: Cast) -> None:
    people.change_profile(person(cast.alice), name="Alice Another", time_zone="Europe/Paris")


def change_address(cast: Cast) -> None:
    people.change_address(person(cast.alice), "alice2@logistics.example.org")
    people.change_address(person("alice2@logistics.example.org"), cast.alice)


def sit_on_another_contract(cast: Cast) -> None:
    buyer = contracts.find_or_create_organization("Example Logistics", actor=None, now=NOW)
    contracts.create_contract("NW-9", buyer, find_product(cast.product), NOW.date(), time_zone="UTC", actor=None, now=NOW)
    contacts.name_contact(contracts.find_contract("NW-9"), name="Alice", email=cast.alice, actor=None, now=NOW)


def replace_and_name_again(cast: Cast) -> None:
    contact = contacts.replace_contact(seat_of(cast), name="Zoe", email="zoe@logistics.example.org", actor=None, now=NOW)
    contacts.replace_contact(contact, name="Alice", email=cast.alice, actor=None, now=NOW)


def accept_an_invitation(cast: Cast) -> None:
    invitations.invite(seat_of(cast), actor=None, now=NOW)
    person(cast.alice).password = None
    db.session.flush()
    nonce = db.session.scalars(sa.select(Invitation.nonce)).one()
    token = tokens.derive_token(current_settings().secret_key, invitations.PURPOSE, nonce)
    invitations.accept(token, password_hash="x", name="Alice", now=NOW)


def be_typed_into_the_form(cast: Cast) -> None:
    opt_in.ask_address(cast.alice, "", find_product(cast.product), subscriptions.OPEN_TOPICS, now=NOW)


def be_asked_by_staff(cast: Cast) -> None:
    assert opt_in.ask_customers([cast.alice], find_product(cast.product), actor=None, now=NOW) == 0


@pytest.mark.parametrize(
    "happens",
    [
        renew, suspend_and_resume, import_again, edit_profile, change_address, sit_on_another_contract, replace_and_name_again,
        accept_an_invitation, be_typed_into_the_form, be_asked_by_staff,
    ],
)  # fmt: skip
def test_a_no_stays_a_no_whatever_happens(cast: Cast, product: Product, happens: Callable[[Cast], None]) -> None:
    with transaction():
        alice = person(cast.alice)
        for topic in Topic:
            subscriptions.choose(alice.id, product.id, topic, wanted=False, now=NOW)
    with transaction():
        happens(cast)
    assert rows(cast.alice) == NO


def test_what_was_confirmed_at_an_address_does_not_move_to_another_one(cast: Cast, product: Product) -> None:
    ask_address(cast.erin, product, Topic.MINOR)
    confirm(cast.erin)
    with transaction():
        subscriptions.choose(person(cast.erin).id, product.id, Topic.MAJOR, wanted=False, now=NOW)
    ask_address(cast.erin, product, Topic.MAJOR)
    token = token_of(cast.erin)
    with transaction():
        people.change_address(person(cast.erin), "erin2@press.example.org")
    assert rows("erin2@press.example.org") == {Topic.MAJOR: False}
    with pytest.raises(NotFound), transaction():
        requests.confirm(token, now=NOW)
