"""Who reads in the notice of a release that what they asked for is in it."""

from datetime import datetime, timedelta

import pytest
from flask import Flask

from portal.account import contacts
from portal.config import current_settings
from portal.database import db, transaction
from portal.feedback import asked_for, votes
from portal.feedback.models import Status
from portal.notices import kinds
from portal.notices.kinds import Due
from portal.notices.mime import Letter
from portal.notices.models import Notice, Topic
from portal.notices.rendering import Renderer
from portal.releases import announcements
from portal.releases.models import Channel, Release
from tests import raw_mail
from tests.board import answer, contract, person, release, suspended, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW
from tests.statements import statements

pytestmark = pytest.mark.usefixtures("app_context")

SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(days=1)


@pytest.fixture
def stable(cast: Cast) -> int:
    return release("15.4", Channel.STABLE)


def told(release_id: int, *addresses: str, at: datetime = SOON) -> dict[str, list[str]]:
    """What these people are told they asked for, by address."""
    ids = {person(address).id: address for address in addresses}
    found = asked_for.asked_for(db.session.get_one(Release, release_id), list(ids), at)
    return {ids[user_id]: [item["title"] for item in items] for user_id, items in found.items()}


def everybody(cast: Cast) -> list[str]:
    return [cast.alice, cast.bob, cast.carol, cast.dave, cast.erin, cast.frank, cast.paula]


def test_the_writer_and_both_contacts_of_a_contract_that_votes_are_told(cast: Cast, stable: int) -> None:
    """Who writes an item votes for it, and one vote is the contract's."""
    first, second = write(cast.alice, "Pause"), write(cast.carol, "Zoom")
    vote(cast.bob, second)
    for item_id in (first, second):
        answer(item_id, Status.SHIPPED, release_id=stable)
    assert told(stable, *everybody(cast)) == {cast.alice: ["Pause", "Zoom"], cast.bob: ["Pause", "Zoom"], cast.carol: ["Zoom"]}


def test_a_vote_taken_back_does_not_count_but_what_one_wrote_does(cast: Cast, stable: int) -> None:
    item_id = write(cast.alice, "Pause")
    with transaction():
        votes.withdraw(viewer(cast.bob), item_id, now=NOW)
    answer(item_id, Status.SHIPPED, release_id=stable)
    assert told(stable, *everybody(cast)) == {cast.alice: ["Pause"]}


def test_only_what_stands_in_this_very_release_counts(cast: Cast, stable: int) -> None:
    beta = release("15.4b1")
    for title, status, version in (
        ("Shipped", Status.SHIPPED, "15.4"), ("Tested", Status.IN_BETA, "15.4b1"), ("Planned", Status.PLANNED, "15.4"),
        ("Elsewhere", Status.SHIPPED, "15.3"), ("Mistaken", Status.IN_BETA, "15.4"),
    ):  # fmt: skip
        answer(write(cast.alice, title), status, version=version)
    moved = write(cast.alice, "Moved on")
    answer(moved, Status.IN_BETA, version="15.4b1")
    answer(moved, Status.PLANNED, version="15.5")
    assert told(stable, cast.alice) == {cast.alice: ["Shipped"]}
    assert told(beta, cast.alice) == {cast.alice: ["Tested"]}


def test_who_has_no_live_contract_or_left_the_seat_is_not_told(cast: Cast, stable: int) -> None:
    answer(write(cast.alice, "Pause"), Status.SHIPPED, release_id=stable)
    answer(write(cast.carol, "Zoom"), Status.SHIPPED, release_id=stable)
    with transaction():
        contacts.release_contact(contacts.live_contacts(contract(cast.other_contract).id)[0], actor=None, now=NOW)
    with suspended(cast.contract):
        assert told(stable, *everybody(cast), at=LATER) == {}


def test_asked_again_later_the_answer_is_that_of_the_time(cast: Cast, stable: int) -> None:
    item_id = write(cast.alice, "Pause")
    answer(item_id, Status.SHIPPED, release_id=stable)
    answer(item_id, Status.PLANNED, version="16", now=LATER)
    with transaction():
        votes.withdraw(viewer(cast.bob), item_id, now=LATER)
    assert told(stable, cast.alice, cast.bob, at=SOON) == {cast.alice: ["Pause"], cast.bob: ["Pause"]}
    assert told(stable, cast.alice, cast.bob, at=LATER) == {}


def test_the_same_statements_answer_for_any_number_of_people_and_items(app: Flask, cast: Cast, stable: int) -> None:
    for number in range(5):
        answer(write(cast.alice, f"Idea {number}"), Status.SHIPPED, release_id=stable)
    brought, ids = db.session.get_one(Release, stable), [person(address).id for address in everybody(cast)]
    assert (brought.version, brought.channel) == ("15.4", Channel.STABLE)
    with statements(app) as made:
        assert len(asked_for.asked_for(brought, ids, SOON)) == 2
    assert len(made) == 3, "what it brings, the zones of contracts, and the people"


def test_it_stands_in_the_notice_of_those_who_asked_alone(cast: Cast, stable: int) -> None:
    first = write(cast.alice, "Pause a <macro>")
    answer(first, Status.SHIPPED, release_id=stable)
    answer(write(cast.alice, "Zoom"), Status.SHIPPED, release_id=stable)
    context = {"release_id": stable, "title": "Macro Studio 15.4"}
    product_id = contract(cast.contract).product_id
    notice = Notice(id=1, kind=announcements.PUBLISHED, topic=Topic.MINOR, product_id=product_id, context=context, created_at=NOW)
    people = [Due(number, person(address).id, address, "", NOW) for number, address in enumerate((cast.bob, cast.carol), 1)]
    asked, others = (
        raw_mail.read(one.message) for one in Renderer(notice, current_settings()).letters(people, SOON) if isinstance(one, Letter)
    )
    assert asked["Subject"] == "Macro Studio 15.4: two things you asked for are in it"
    assert "TWO THINGS YOU ASKED FOR ARE IN THIS RELEASE\n\n* Pause a <macro>\n" in asked.text
    assert f"\n  http://127.0.0.1:8000/feedback/{first}/\n" in asked.text
    assert "Two things you asked for are in this release" in asked.html
    assert f'<strong>Pause a &lt;macro&gt;</strong> <a class="lnk" href="http://127.0.0.1:8000/feedback/{first}/"' in asked.html
    assert others["Subject"] == "Macro Studio 15.4: minor release is out"
    assert "asked" not in (others.text + others.html).lower()


def test_a_release_nobody_knows_any_more_has_nothing_for_anybody(cast: Cast) -> None:
    notice = Notice(id=1, kind=announcements.PUBLISHED, context={"release_id": 404}, created_at=NOW)
    assert kinds.find(announcements.PUBLISHED).slots(notice, [Due(1, 1, cast.alice, "", NOW)], NOW) == {}
