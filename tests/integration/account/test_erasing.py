"""Erasing a person: name and address are nowhere any more, in any table; what counts stays."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from portal import clock
from portal.account import contacts, contracts, people, personal_data, privacy
from portal.account.models import Contact, User
from portal.audit import AuditEvent
from portal.database import Base, db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import suppression
from portal.notices.models import Delivery, ErasedSuppression, Suppression
from tests import board
from tests.cast import Cast

pytestmark = pytest.mark.usefixtures("app_context")


def everything() -> str:
    """All text in all tables, as one long string in lower case."""
    db.session.expire_all()
    parts = []
    for table in Base.metadata.sorted_tables:
        for row in db.session.execute(sa.select(table)):
            parts.append(repr(tuple(row)))
    return "\n".join(parts).lower()


def find(email: str) -> User:
    person = people.find_person(email)
    assert person is not None
    return person


def release(email: str) -> None:
    with transaction():
        contact = db.session.scalars(sa.select(Contact).where(Contact.user_id == find(email).id, Contact.released_at.is_(None))).one()
        contacts.release_contact(contact, actor=find("anton@vendor.example.org"), now=clock.now())


def erase(person_id: int) -> None:
    with transaction():
        privacy.erase(person_id, actor=find("anton@vendor.example.org"), now=clock.now())


def test_after_erasing_the_person_stands_nowhere(cast: Cast) -> None:
    person_id = find(cast.bob).id
    item_id = board.write(cast.alice, title="Keep the clipboard")
    board.comment(cast.bob, item_id, "So do we.")
    board.vote(cast.carol, item_id)
    with transaction():
        anton = find(cast.anton)
        suppression.add_by_hand(cast.bob, "Bob Example asked for no mail", actor=anton, now=clock.now())
    release(cast.bob)
    assert cast.bob in everything()
    erase(person_id)
    left = everything()
    for told in (cast.bob, "bob example", "bob@"):
        assert told not in left
    person = db.session.get_one(User, person_id)
    assert person.label == "Erased person"
    assert not person.active


def test_what_counts_stays(cast: Cast) -> None:
    person_id, item_id = find(cast.bob).id, board.write(cast.bob, title="Keep the clipboard")
    release(cast.bob)
    seats = db.session.scalar(sa.select(sa.func.count()).where(Contact.user_id == person_id))
    mails = db.session.scalar(sa.select(sa.func.count()).where(Delivery.user_id == person_id))
    erase(person_id)
    assert db.session.scalar(sa.select(sa.func.count()).where(Contact.user_id == person_id)) == seats
    assert db.session.scalar(sa.select(sa.func.count()).where(Delivery.user_id == person_id)) == mails
    table = Base.metadata.tables["feedback_items"]
    kept = db.session.execute(sa.select(table.c.title, table.c.organization_id).where(table.c.id == item_id)).one()
    assert kept.title == "Keep the clipboard"
    event = db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "person.erased")).one()
    assert (event.actor, event.person_id, event.details) == ("Anton Example", person_id, {})


def test_a_contact_and_a_member_of_staff_are_not_erased_before_their_work_is_handed_on(cast: Cast) -> None:
    with pytest.raises(Conflict, match="holds a seat of NW-2041"):
        erase(find(cast.alice).id)
    with pytest.raises(Conflict, match="member of staff"):
        erase(find(cast.paula).id)
    assert find(cast.alice).name == "Alice Example"


def test_nobody_is_erased_twice(cast: Cast) -> None:
    person_id = find(cast.erin).id
    erase(person_id)
    with pytest.raises(NotFound):
        erase(person_id)


def test_an_erased_address_that_was_suppressed_is_suppressed_again_when_it_is_typed_in(cast: Cast) -> None:
    with transaction():
        suppression.add_by_hand(cast.erin, "asked for it", actor=find(cast.anton), now=clock.now())
    erase(find(cast.erin).id)
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Suppression)) == 0
    with transaction():
        press = contracts.find_or_create_organization("Example Press", actor=None, now=clock.now())
        people.add_customer(cast.erin, "Erin Example", press, actor=None, now=clock.now())
    assert suppression.find(cast.erin) is not None
    assert db.session.scalar(sa.select(sa.func.count()).select_from(ErasedSuppression)) == 0


def test_a_short_name_goes_from_the_news_of_a_seat(cast: Cast) -> None:
    with transaction():
        contract = contracts.find_contract(cast.other_contract)
        named = contacts.name_contact(
            contract, name="Bo Li", email="bo@foods.example.org", actor=find(cast.carol), now=clock.now(), tell=True
        )  # fmt: skip
        person_id = named.user_id
    release("bo@foods.example.org")
    assert "bo li" in everything()
    erase(person_id)
    assert "bo li" not in everything()


def test_somebody_who_is_named_while_they_are_erased_gets_no_seat(app: Flask, cast: Cast) -> None:
    release(cast.bob)
    bob_id, waiting = find(cast.bob).id, sa.text("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
    db.session.remove()

    def name_again() -> None:
        with app.app_context(), transaction():
            contract = contracts.find_contract(cast.contract)
            contacts.name_contact(contract, name="Bob", email=cast.bob, actor=None, now=clock.now(), invite=False)

    def begins_to_wait() -> bool:
        """SQLite lets nobody write meanwhile, and shows nobody who waits."""
        return db.engine.dialect.name == "sqlite" or bool(db.session.scalar(waiting))

    with ThreadPoolExecutor(1) as pool:
        with transaction():
            privacy.erase(bob_id, actor=find(cast.anton), now=clock.now())
            naming = pool.submit(name_again)
            while not (begins_to_wait() or naming.done()):
                pass
        error = naming.exception()
    assert error is None or isinstance(error, Invalid)
    held = sa.select(sa.func.count()).where(Contact.user_id == bob_id, Contact.released_at.is_(None))
    assert db.session.scalar(held) == 0


def test_another_person_of_the_same_name_keeps_it(cast: Cast) -> None:
    with transaction():
        press = contracts.find_or_create_organization("Example Press", actor=None, now=clock.now())
        people.add_customer("ben@press.example.org", "Erin Example", press, actor=None, now=clock.now())
    erase(find(cast.erin).id)
    assert find("ben@press.example.org").name == "Erin Example"


def columns_that_name_people() -> set[str]:
    """Every column, as `table.column`, with a foreign key to people."""
    return {
        f"{table.name}.{column.name}"
        for table in Base.metadata.tables.values()
        for column in table.columns
        if any(key.target_fullname == "users.id" for key in column.foreign_keys)
    }


def test_the_register_names_every_column_that_points_to_a_person(app: Flask) -> None:
    told = {kept.key for kept in personal_data.OWN} | personal_data.STAFF_ACTS
    assert columns_that_name_people() - told == set(), "say in portal/account/personal_data.py what becomes of them"
    assert told - columns_that_name_people() == set(), "these are gone"


def test_no_copy_holds_what_opens_a_door(app: Flask) -> None:
    shown = {name for kept in personal_data.OWN for name in kept.show}
    assert not shown & {"token_hash", "secret", "code_hash", "lookup", "public_key", "credential_id", "nonce", "password", "fingerprint"}
