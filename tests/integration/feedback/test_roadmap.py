"""The roadmap says what the statuses say, to each reader what they may know."""

from datetime import datetime, timedelta

import pytest

from portal.feedback import roadmap
from portal.feedback.models import Status, Visibility
from portal.releases.models import Channel
from tests.board import answer, merge, person, product, release, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def shown(email: str, product_id: int | None = None, now: datetime = NOW) -> dict[str, list[tuple[str, str]]]:
    """What a reader finds on the roadmap: for each section, version and title."""
    return {
        section.status.value: [(stretch.version, entry.item.title) for stretch in section.stretches for entry in stretch.entries]
        for section in roadmap.read(viewer(email), now, product_id)
    }


def test_it_is_read_off_the_statuses(cast: Cast) -> None:
    beta, stable = release("15.3b2"), release("15.2.1", Channel.STABLE)
    few, many = write(cast.alice, "Few"), write(cast.alice, "Many")
    vote(cast.carol, many)
    answer(few, Status.PLANNED, version="15.4")
    answer(many, Status.PLANNED, version="15.4")
    answer(write(cast.alice, "Tested"), Status.IN_BETA, release_id=beta)
    answer(write(cast.alice, "Out"), Status.SHIPPED, release_id=stable)
    answer(write(cast.alice, "Declined"), Status.DECLINED, reason="No.")
    write(cast.alice, "Under review")
    expected = {
        "planned": [("15.4", "Many"), ("15.4", "Few")], "in_beta": [("15.3b2", "Tested")], "shipped": [("15.2.1", "Out")],
    }  # fmt: skip
    assert shown(cast.carol) == expected
    assert shown(cast.petra) == expected
    answer(few, Status.UNDER_REVIEW)
    assert shown(cast.carol)["planned"] == [("15.4", "Many")]


def test_what_shipped_long_ago_is_left_to_the_board(cast: Cast) -> None:
    stable = release("15.2.1", Channel.STABLE)
    then = NOW - roadmap.LATELY - timedelta(days=1)
    old, new = write(cast.alice, "Old"), write(cast.alice, "New")
    answer(old, Status.SHIPPED, release_id=stable, now=then)
    answer(new, Status.SHIPPED, release_id=stable, now=NOW - timedelta(days=3))
    answer(old, Status.SHIPPED, release_id=stable, response="It is there.")  # a late word about it does not make it new
    assert shown(cast.carol)["shipped"] == [("15.2.1", "New")]


def test_private_and_merged_items_stand_where_they_may(cast: Cast) -> None:
    secret, merged, target = write(cast.alice, "Secret", visibility=Visibility.PRIVATE), write(cast.alice, "Old"), write(cast.alice, "New")
    for item_id in (secret, merged, target):
        answer(item_id, Status.PLANNED)
    merge(merged, target)
    assert [title for _, title in shown(cast.bob)["planned"]] == ["New", "Secret"]
    assert [title for _, title in shown(cast.carol)["planned"]] == ["New"]
    assert shown(cast.frank) == {"planned": [], "in_beta": [], "shipped": []}


def test_the_lapsed_read_nothing_of_betas(cast: Cast) -> None:
    beta = release("15.3b2")
    answer(write(cast.alice, "Tested"), Status.IN_BETA, release_id=beta)
    answer(write(cast.alice, "About the beta", version="15.3b2"), Status.PLANNED, version="15.4")
    answer(write(cast.alice, "Named"), Status.PLANNED, version="15.4b1")
    sections = roadmap.read(viewer(cast.dave), NOW)
    assert shown(cast.dave) == {"planned": [("", "Named"), ("", "Tested")], "in_beta": [], "shipped": []}
    entries = {entry.item.title: entry.since for stretch in sections[0].stretches for entry in stretch.entries}
    assert entries == {"Named": None, "Tested": None}  # a date that one of them lacked would tell


def test_only_the_entitled_are_led_to_the_release(cast: Cast) -> None:
    beta, stable = release("15.3b2"), release("15.2.1", Channel.STABLE)
    answer(write(cast.alice, "Tested"), Status.IN_BETA, release_id=beta)
    answer(write(cast.alice, "Out"), Status.SHIPPED, release_id=stable)
    for email, led in ((cast.carol, [beta, stable]), (cast.petra, [beta, stable]), (cast.dave, [])):
        sections = roadmap.read(viewer(email), NOW)
        assert [stretch.release.id for section in sections for stretch in section.stretches if stretch.release] == led, email


def test_it_can_be_narrowed_to_a_product_and_says_that_there_is_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roadmap, "SHOWN", 2)
    for number in range(3):
        answer(write(cast.alice, f"Item {number}"), Status.PLANNED)
    answer(write(cast.frank, "Foreign", slug=cast.other_product), Status.PLANNED)
    section = roadmap.read(viewer(cast.petra), NOW, product(cast.product).id)[0]
    assert (section.entries, section.more) == (2, True)
    assert [section.more for section in roadmap.read(viewer(cast.frank), NOW)] == [False] * 3
    assert [title for _, title in shown(cast.petra, product(cast.other_product).id)["planned"]] == ["Foreign"]
    assert person(cast.frank).id in {entry.item.author_id for entry in roadmap.read(viewer(cast.frank), NOW)[0].stretches[0].entries}
