"""Two seats, held by the database: whatever arrives at once, a contract never has a third contact."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contacts, contracts
from portal.account.models import Contact
from portal.database import db, transaction
from portal.errors import Conflict
from portal.notices.models import Delivery, Notice
from tests.cast import Cast
from tests.conftest import NOW


def at_once(app: Flask, act: Callable[[int], None], times: int) -> list[BaseException | None]:
    """Run `act` in that many threads, each with its own app context and connection, let go at the same moment."""
    barrier = Barrier(times)

    def run(number: int) -> BaseException | None:
        with app.app_context():
            barrier.wait()
            try:
                with transaction():
                    act(number)
            except Conflict as refusal:
                return refusal
            finally:
                db.session.remove()
        return None

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def seats_taken(number: str) -> list[int]:
    contract = contracts.find_contract(number)
    return sorted(db.session.scalars(sa.select(Contact.seat).where(Contact.contract_id == contract.id, Contact.released_at.is_(None))))


def test_forty_namings_at_once_fill_exactly_two_seats(app: Flask, cast: Cast) -> None:
    with app.app_context(), transaction():
        contract = contracts.find_contract(cast.other_contract)
        contacts.release_contact(contacts.live_contacts(contract.id)[0], actor=None, now=NOW)

    def name(number: int) -> None:
        contract = contracts.find_contract(cast.other_contract)
        contacts.name_contact(contract, name=f"Person {number}", email=f"p{number}@foods.example.org", actor=None, now=NOW)

    outcomes = at_once(app, name, 40)
    assert sum(outcome is None for outcome in outcomes) == 2
    with app.app_context():
        assert seats_taken(cast.other_contract) == [1, 2]


def test_replacing_the_same_contact_at_once_has_one_winner(app: Flask, cast: Cast) -> None:
    with app.app_context():
        contact_id = contacts.live_contacts(contracts.find_contract(cast.contract).id)[0].id

    def replace(number: int) -> None:
        contact = db.session.get_one(Contact, contact_id)
        contacts.replace_contact(contact, name=f"New {number}", email=f"new{number}@logistics.example.org", actor=None, now=NOW)

    outcomes = at_once(app, replace, 8)
    assert sum(outcome is None for outcome in outcomes) == 1
    with app.app_context():
        assert seats_taken(cast.contract) == [1, 2]


@pytest.mark.usefixtures("app_context")
def test_the_database_itself_refuses_a_third_seat_and_a_second_holder(cast: Cast) -> None:
    contract = contracts.find_contract(cast.contract)
    user_id = contacts.live_contacts(contracts.find_contract(cast.other_contract).id)[0].user_id
    for seat in (2, 3):
        db.session.add(Contact(contract_id=contract.id, user_id=user_id, seat=seat, named_at=NOW))
        with pytest.raises(sa.exc.IntegrityError):
            db.session.flush()
        db.session.rollback()


@pytest.mark.usefixtures("app_context")
def test_a_replacement_tells_all_three_and_the_account_managers(cast: Cast) -> None:
    with transaction():
        contact = contacts.live_contacts(contracts.find_contract(cast.contract).id)[0]
        contacts.replace_contact(contact, name="Nina", email="nina@logistics.example.org", actor=None, now=NOW)
    told = db.session.execute(sa.select(Notice.kind, Delivery.address).join(Delivery, Delivery.notice_id == Notice.id))
    assert set(told) == {
        ("contact_released", cast.alice),
        ("contact_named", cast.bob),
        ("invitation", "nina@logistics.example.org"),
        ("seats_changed", cast.anton),
    }


@pytest.mark.usefixtures("app_context")
def test_nobody_is_named_to_a_cancelled_contract(cast: Cast) -> None:
    with transaction():
        contracts.cancel(contracts.find_contract(cast.other_contract), actor=None, now=NOW)
    contract = contracts.find_contract(cast.other_contract)
    with pytest.raises(Conflict, match="cancelled"), transaction():
        contacts.name_contact(contract, name="Nina", email="nina@foods.example.org", actor=None, now=NOW)
