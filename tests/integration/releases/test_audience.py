"""Who is mailed about a release, and why others are not."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from portal.account import contacts, contracts, people
from portal.account.circles import CANCELLED, ENDED, NOT_STARTED, SUSPENDED
from portal.account.models import Contact
from portal.database import db, transaction
from portal.notices import subscriptions, suppression
from portal.notices.audiences import ACCOUNT_CLOSED, SUPPRESSED, SWITCHED_OFF
from portal.notices.models import Topic
from portal.products.catalog import find_product
from portal.releases import audience
from portal.releases.models import Channel, Kind, Release
from tests.cast import Cast
from tests.conftest import NOW
from tests.integration.releases.helpers import get, make_draft, person

pytestmark = pytest.mark.usefixtures("app_context")

KINDS = {"beta": ("15.3b2", Channel.BETA, None), "point": ("15.2.1", Channel.STABLE, Kind.POINT)}


@pytest.fixture(params=list(KINDS))
def release(request: pytest.FixtureRequest, cast: Cast) -> Release:
    """A draft of the kinds that need a contract."""
    version, channel, kind = KINDS[request.param]
    return get(make_draft(version=version, channel=channel, kind=kind))


def reached(release: Release) -> list[str]:
    return sorted(address for _, address, _ in db.session.execute(audience.audience(release, NOW)))


def reasons(release: Release) -> dict[str, str | None]:
    return {one.email: one.excluded for one in audience.people(release, NOW, limit=100)}


def test_named_contacts_of_live_contracts_are_mailed(cast: Cast, release: Release) -> None:
    assert reached(release) == [cast.alice, cast.bob, cast.carol]
    assert reasons(release) == {cast.alice: None, cast.bob: None, cast.carol: None, cast.dave: ENDED}


def test_who_unsubscribed_is_not_mailed(cast: Cast, release: Release) -> None:
    with transaction():
        subscriptions.choose(person(cast.bob).id, release.product_id, audience.topic_of(release), wanted=False, now=NOW)
    assert reached(release) == [cast.alice, cast.carol]
    assert reasons(release)[cast.bob] == SWITCHED_OFF


def test_another_topic_switched_off_changes_nothing(cast: Cast, release: Release) -> None:
    with transaction():
        subscriptions.choose(person(cast.bob).id, release.product_id, Topic.FEEDBACK, wanted=False, now=NOW)
    assert cast.bob in reached(release)


def test_suppressed_addresses_are_not_mailed(cast: Cast, release: Release) -> None:
    with transaction():
        suppression.add(cast.bob, "hard bounce", now=NOW)
    assert reached(release) == [cast.alice, cast.carol]
    assert reasons(release)[cast.bob] == SUPPRESSED


@pytest.mark.parametrize(("act", "reason"), [(contracts.suspend, SUSPENDED), (contracts.cancel, CANCELLED)])
def test_a_stopped_contract_is_not_mailed(cast: Cast, release: Release, act: object, reason: str) -> None:
    with transaction():
        act(contracts.find_contract(cast.contract), actor=None, now=NOW)  # type: ignore[operator]
    assert reached(release) == [cast.carol]
    assert reasons(release)[cast.alice] == reason


def test_a_contract_that_has_not_started_is_not_mailed(cast: Cast, release: Release) -> None:
    with transaction():
        buyer = contracts.create_organization("Example Early", actor=None, now=NOW)
        product = find_product(cast.product)
        contract = contracts.create_contract(
            "NW-9", buyer, product, NOW.date() + timedelta(days=1), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        contacts.name_contact(contract, name="Eve", email="eve@early.example.org", actor=None, now=NOW, invite=False)
    assert "eve@early.example.org" not in reached(release)
    assert reasons(release)["eve@early.example.org"] == NOT_STARTED


def test_a_released_seat_is_not_mailed_nor_counted(cast: Cast, release: Release) -> None:
    with transaction() as session:
        seat = session.scalars(sa.select(Contact).where(Contact.user_id == person(cast.bob).id)).one()
        contacts.release_contact(seat, actor=None, now=NOW)
    assert reached(release) == [cast.alice, cast.carol]
    assert cast.bob not in reasons(release)


def test_a_closed_account_is_not_mailed(cast: Cast, release: Release) -> None:
    with transaction():
        person(cast.bob).active = False
    assert reached(release) == [cast.alice, cast.carol]
    assert reasons(release)[cast.bob] == ACCOUNT_CLOSED


def test_contacts_of_another_product_have_nothing_to_do_with_it(cast: Cast, release: Release) -> None:
    assert cast.frank not in reasons(release)
    assert cast.erin not in reasons(release)


def test_a_person_with_two_seats_is_mailed_once(cast: Cast, release: Release) -> None:
    with transaction():
        alice = person(cast.alice)
        assert alice.organization is not None
        second = contracts.create_contract(
            "NW-2099", alice.organization, find_product(cast.product), NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        contacts.name_contact(second, name="Alice", email=cast.alice, actor=None, now=NOW, invite=False)
    assert reached(release).count(cast.alice) == 1


def test_one_live_contract_is_enough_where_another_has_ended(cast: Cast, release: Release) -> None:
    with transaction():
        dave = person(cast.dave)
        assert dave.organization is not None
        new = contracts.create_contract(
            "NW-2100", dave.organization, find_product(cast.product), NOW.date(), time_zone="Europe/Berlin", actor=None, now=NOW
        )
        contacts.name_contact(new, name="Dave", email=cast.dave, actor=None, now=NOW, invite=False)
    assert cast.dave in reached(release)


@pytest.mark.parametrize(("version", "kind", "topic"), [("15.3", Kind.MINOR, Topic.MINOR), ("16.0", Kind.MAJOR, Topic.MAJOR)])
def test_minor_and_major_releases_go_to_every_customer_who_asked(cast: Cast, version: str, kind: Kind, topic: Topic) -> None:
    release = get(make_draft(version=version, channel=Channel.STABLE, kind=kind))
    assert reached(release) == []
    with transaction():
        for address in (cast.erin, cast.dave, cast.alice, cast.bob):
            subscriptions.start(person(address).id, release.product_id, [topic], now=NOW)
        subscriptions.choose(person(cast.bob).id, release.product_id, topic, wanted=False, now=NOW)
        subscriptions.start(person(cast.frank).id, find_product(cast.other_product).id, [topic], now=NOW)
        person(cast.dave).active = False
    assert reached(release) == [cast.alice, cast.erin]
    assert reasons(release) == {
        cast.alice: None,
        cast.bob: SWITCHED_OFF,
        cast.dave: ACCOUNT_CLOSED,
        cast.erin: None,
    }


def test_the_sum_is_right(cast: Cast, release: Release) -> None:
    with transaction():
        subscriptions.choose(person(cast.bob).id, release.product_id, audience.topic_of(release), wanted=False, now=NOW)
        suppression.add(cast.carol, "hard bounce", now=NOW)
    reach = audience.reach(release, NOW)
    assert reach.excluded == {SWITCHED_OFF: 1, SUPPRESSED: 1, ENDED: 1}
    assert reach.reached == len(reached(release)) == 1
    assert reach.whole == len(reasons(release))


def test_people_are_paged_by_address(cast: Cast, release: Release) -> None:
    first = audience.people(release, NOW, limit=2)
    rest = audience.people(release, NOW, after=first[-1].email, limit=10)
    assert [one.email for one in [*first, *rest]] == [cast.alice, cast.bob, cast.carol, cast.dave]
    assert first[0].organization == "Example Logistics"


def test_staff_are_no_audience_unless_they_subscribed(cast: Cast, release: Release) -> None:
    assert people.find_person(cast.paula) is not None
    assert cast.paula not in reasons(release)
