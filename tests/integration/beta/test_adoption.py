"""Who was told, who took it, who answered."""

from datetime import date, timedelta

import pytest
from flask import Flask

from portal.beta import adoption, plots
from portal.database import db, transaction
from portal.notices.models import Delivery, DeliveryState
from portal.releases import downloads
from portal.releases.models import Channel, Release
from portal.web.ranges import Span
from tests.builds import CONTENT, find_user, publish_release
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

SIZE = len(CONTENT)
HALF = Span(0, SIZE // 2 - 1)


@pytest.fixture
def beta(cast: Cast) -> int:
    return publish_release("15.3b2", Channel.BETA, NOW)


def mark_sent(*addresses: str) -> None:
    with transaction() as session:
        for delivery in session.query(Delivery):
            if delivery.address in addresses:
                delivery.state, delivery.settled_at = DeliveryState.SENT, NOW


def take(release_id: int, address: str, span: Span = HALF, *, sent: bool = False) -> None:
    with transaction() as session:
        build = session.get_one(Release, release_id).builds[0]
        download = downloads.record(build.id, find_user(address).id, None, span, NOW)
        if sent:
            downloads.note_sent(download, span, NOW)


def groups(release_id: int) -> dict[str, adoption.Group]:
    return {group.name: group for group in adoption.adoption_of(db.session.get_one(Release, release_id)).groups}


def everybody(release_id: int) -> dict[str, adoption.Tester]:
    return {one.email: one for group in groups(release_id).values() for one in group.testers}


def test_each_person_stands_with_their_organisation_and_what_they_did(cast: Cast, beta: int) -> None:
    mark_sent(cast.alice)
    take(beta, cast.bob)
    take(beta, cast.alice, Span(0, SIZE - 1), sent=True)
    take(beta, cast.erin, Span(0, SIZE // 4 - 1))  # who was told of nothing
    found = everybody(beta)
    assert list(groups(beta)) == ["Example Foods", "Example Logistics", "Example Press"]
    alice, bob, carol, erin = (found[one] for one in (cast.alice, cast.bob, cast.carol, cast.erin))
    assert (alice.was_told, alice.told_at, alice.completed) == (True, NOW, True)
    assert (bob.told, bob.was_told, bob.completed, [one.share for one in bob.downloads]) == (DeliveryState.QUEUED, False, False, [0.5])
    assert (carol.downloads, carol.answers) == ((), 0)
    assert (erin.told, [one.share for one in erin.downloads]) == (None, [0.25])
    whole = adoption.adoption_of(db.session.get_one(Release, beta))
    assert (whole.people.told, whole.people.tried, whole.people.completed, whole.people.answered) == (1, 3, 1, 0)
    assert (whole.organizations.told, whole.organizations.tried) == (1, 2)


def test_the_vendors_own_people_and_other_releases_do_not_count(cast: Cast, beta: int) -> None:
    other = publish_release("15.3b3", Channel.BETA, NOW, files={"other.msi": b"other"})
    take(beta, cast.paula)
    take(other, cast.alice, Span(0, 1))
    assert [one.downloads for one in everybody(beta).values()] == [(), (), ()]
    assert cast.paula not in everybody(beta)


def test_a_page_holds_some_organisations_and_leads_to_the_rest(cast: Cast, beta: int) -> None:
    take(beta, cast.erin)
    whole = adoption.adoption_of(db.session.get_one(Release, beta))
    first, further = whole.page("", 2)
    assert ([group.name for group in first], further) == (["Example Foods", "Example Logistics"], "Example Logistics")
    rest, further = whole.page("Example Logistics", 2)
    assert ([group.name for group in rest], further) == (["Example Press"], None)


def test_it_costs_the_same_however_many_took_it(app: Flask, cast: Cast, beta: int) -> None:
    def cost() -> int:
        db.session.expire_all()
        release = db.session.get_one(Release, beta)
        assert release.version
        with statements(app) as seen:
            adoption.adoption_of(release)
        return len(seen)

    take(beta, cast.alice)
    one = cost()
    for address in (cast.bob, cast.carol, cast.erin, cast.dave):
        take(beta, address)
    assert cost() == one


def test_the_plot_holds_nothing_that_the_content_security_policy_forbids() -> None:
    day = date(2026, 11, 1)
    plot = plots.growth(day, day + timedelta(days=400), {"<b>": [day, day + timedelta(days=3)], "Organisations": []}, 'Two & "more"')
    assert plot.startswith("<svg")
    for forbidden in ("<script", "<style", "style=", "<title", "<!--", "onload", "<b>", "http://www.w3.org/1999"):
        assert forbidden not in plot
    assert 'aria-label="Two &amp; &quot;more&quot;"' in plot
    assert "…" not in plot


@pytest.mark.parametrize("days", [0, 1, 45])
def test_a_plot_of_any_length_is_drawn(days: int) -> None:
    day = date(2026, 11, 1)
    assert "serie-0" in plots.growth(day, day + timedelta(days=days), {"People": [day]}, "One")
