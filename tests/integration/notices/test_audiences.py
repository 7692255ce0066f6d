"""The audiences that staff can choose: who is in them, who is left out and why, and that the numbers are those of the mails."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.account import contacts, contracts, people
from portal.account.models import Contact, User
from portal.database import db, transaction
from portal.notices import audiences, subscriptions
from portal.notices.announcements import TOPICS
from portal.notices.audiences import Circle
from portal.notices.models import Suppression, SuppressionCause, Topic
from portal.products.catalog import find_product
from portal.releases import downloads
from portal.releases.models import Channel
from portal.web.ranges import Span
from tests.announcements import deliveries_of, make_draft, send
from tests.builds import find_seat, find_user, only_build, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

NAMES = ["contacts", "seats", "customers", "downloaders", "subscribers"]
ENDED, OFF, CLOSED = "contract ended", "switched these notices off", "account closed"
REFUSED = "address does not take our mail"
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def world(cast: Cast) -> Cast:
    """The cast with everything that can keep somebody out: choices, a download, a colleague, a bad and a closed address."""
    publish_release("15.2.1", Channel.STABLE, NOW)
    with transaction() as session:
        product, logistics = find_product(cast.product), find_user(cast.alice).organization
        assert logistics is not None
        for number in (1, 2):
            people.find_or_add_person(f"colleague{number}@logistics.example.org", "", logistics, now=NOW)
        find_user("colleague2@logistics.example.org").active = False
        session.add(Suppression(address=cast.carol, cause=SuppressionCause.RETURNED, reason="unknown", created_at=NOW))
        subscriptions.choose(find_user(cast.bob).id, product.id, Topic.POINT, wanted=False, now=NOW)
        subscriptions.choose(find_user(cast.erin).id, product.id, Topic.MINOR, wanted=True, now=NOW)
        for address in (cast.alice, cast.erin, cast.paula):
            downloads.record(only_build().id, find_user(address).id, None, Span(0, 9), NOW)
    return cast


def circle(name: str, topic: Topic | None = None, product: str = "macro-studio") -> Circle:
    return audiences.find(name).circle(find_product(product).id, topic, LATER)


def told(circle: Circle) -> dict[str, str | None]:
    """Everybody of a circle by the first part of their address, and why not."""
    return {one.email.partition("@")[0]: one.excluded for one in audiences.people(circle, limit=1000)}


@pytest.mark.parametrize(
    ("name", "topic", "expected"),
    [
        ("contacts", None, {"alice": None, "bob": None, "carol": REFUSED, "dave": ENDED}),
        ("contacts", Topic.POINT, {"alice": None, "bob": OFF, "carol": REFUSED, "dave": ENDED}),
        ("contacts", Topic.MAJOR, {"alice": OFF, "bob": OFF, "carol": OFF, "dave": ENDED}),
        ("seats", None, {"alice": None, "bob": None, "carol": REFUSED, "dave": None}),
        ("seats", Topic.POINT, {"alice": None, "bob": OFF, "carol": REFUSED, "dave": None}),
        (
            "customers",
            None,
            {"alice": None, "bob": None, "carol": REFUSED, "colleague1": None, "colleague2": CLOSED, "dave": None, "erin": None},
        ),
        (
            "customers",
            Topic.MINOR,
            {"alice": OFF, "bob": OFF, "carol": OFF, "colleague1": OFF, "colleague2": CLOSED, "dave": OFF, "erin": None},
        ),
        ("downloaders", None, {"alice": None, "erin": None, "paula": None}),
        ("downloaders", Topic.POINT, {"alice": None, "erin": OFF, "paula": OFF}),
        ("subscribers", Topic.POINT, {"alice": None, "bob": OFF, "carol": REFUSED, "dave": None}),
        ("subscribers", Topic.MINOR, {"erin": None}),
        ("subscribers", Topic.MAJOR, {}),
    ],
)
def test_who_is_in_an_audience_and_who_is_left_out(
    world: Cast, name: str, topic: Topic | None, expected: dict[str, str | None]
) -> None:  # fmt: skip
    assert told(circle(name, topic)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_shown_are_those_of_the_mails_made(world: Cast, name: str) -> None:
    for topic in TOPICS if audiences.find(name).needs_topic else (None, *TOPICS):
        chosen = circle(name, topic)
        listed, reach = audiences.people(chosen, limit=1000), audiences.reach(chosen)
        reached = [one.email for one in listed if one.excluded is None]
        assert (reach.reached, reach.whole) == (len(reached), len(listed))
        assert dict(reach.excluded) == {why: [one.excluded for one in listed].count(why) for why in reach.excluded}
        refused = audiences.refusals(chosen, [one.user_id for one in listed])
        assert refused == {one.user_id: one.excluded for one in listed if one.excluded is not None}
        if reached:
            assert deliveries_of(send(make_draft(name, topic), LATER)) == reached


def test_the_test_above_asks_every_audience_there_is(app: Flask) -> None:
    assert sorted(one.name for one in audiences.known()) == sorted(NAMES)


def test_another_product_has_other_people(world: Cast) -> None:
    assert told(circle("contacts", product=world.other_product)) == {"frank": None}
    assert told(circle("customers", product=world.other_product)) == {"frank": None}
    assert told(circle("downloaders", product=world.other_product)) == {}


@pytest.mark.parametrize("act", [contracts.suspend, contracts.cancel])
def test_a_stopped_contract_gives_its_reason_and_keeps_its_seats(world: Cast, act: object) -> None:
    with transaction():
        act(contracts.find_contract(world.contract), actor=None, now=NOW)  # type: ignore[operator]
    word = "suspended" if act is contracts.suspend else "cancelled"
    assert told(circle("contacts"))["alice"] == f"contract {word}"
    assert told(circle("seats"))["alice"] is None


def test_who_leaves_the_circle_is_refused_as_no_longer_in_it(world: Cast) -> None:
    bob = find_user(world.bob).id
    with transaction():
        contacts.release_contact(find_seat(world.bob), actor=None, now=NOW)
    assert "bob" not in told(circle("contacts"))
    assert audiences.refusals(circle("contacts"), [bob]) == {bob: audiences.LEFT}


def test_people_without_organisation_are_in_no_organisation(world: Cast) -> None:
    assert "paula" not in told(circle("customers"))


def test_people_are_paged_by_address(world: Cast) -> None:
    first = audiences.people(circle("customers"), limit=3)
    rest = audiences.people(circle("customers"), after=first[-1].email, limit=100)
    assert [one.email for one in [*first, *rest]] == [one.email for one in audiences.people(circle("customers"), limit=100)]
    assert first[0].organization == "Example Logistics"


@pytest.mark.parametrize("name", NAMES)
def test_counting_listing_and_checking_take_as_many_statements_for_3_people_as_for_300(app: Flask, world: Cast, name: str) -> None:
    def cost() -> list[int]:
        chosen = circle(name, Topic.POINT)
        ids = list(db.session.scalars(sa.select(User.id)))
        costs = []
        for ask in (
            lambda: audiences.reach(chosen),
            lambda: audiences.people(chosen, limit=1000),
            lambda: audiences.refusals(chosen, ids),
            lambda: db.session.execute(audiences.mailed(chosen)).all(),
        ):
            with statements(app) as seen:
                ask()
            costs.append(len(seen))
        return costs

    few = cost()
    add_people(300, world)
    assert cost() == few == [1, 1, 2, 1]


def add_people(number: int, cast: Cast) -> None:
    """Add contacts of as many contracts, who all have downloaded the only build."""
    build_id = only_build().id
    with transaction() as session:
        product, buyer = find_product(cast.product), find_user(cast.alice).organization
        assert buyer is not None
        for index in range(number // 2):
            contract = contracts.create_contract(
                f"MANY-{index}", buyer, product, NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
            )  # fmt: skip
            for seat in (1, 2):
                person = people.find_or_add_person(f"many{index}-{seat}@logistics.example.org", "", buyer, now=NOW)
                session.add(Contact(contract_id=contract.id, seat=seat, user_id=person.id, named_at=NOW))
                subscriptions.start(person.id, product.id, [Topic.POINT], now=NOW)
                downloads.record(build_id, person.id, None, Span(0, 9), NOW)
