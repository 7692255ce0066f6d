"""Tags are made on the fly, renamed and removed; no subscriber ever reads one."""

import threading
from collections.abc import Collection

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import tags
from portal.feedback.models import ItemTag, Tag
from tests.board import events, person, write
from tests.cast import Cast
from tests.conftest import NOW

PETRA = "petra@vendor.example.org"


def add(item_id: int, name: str) -> int:
    with transaction():
        return tags.add_tag(item_id, name, actor=person(PETRA), now=NOW).id


def rename(tag_id: int, name: str, seen: str) -> None:
    with transaction():
        tags.rename_tag(tag_id, name, seen=seen, actor=person(PETRA), now=NOW)


def names_by_item(item_ids: Collection[int]) -> dict[int, list[str]]:
    """Return the names of the tags that these items bear."""
    rows = db.session.execute(
        sa.select(ItemTag.item_id, Tag.name).join(Tag, Tag.id == ItemTag.tag_id).where(ItemTag.item_id.in_(item_ids)).order_by(Tag.key)
    )
    names: dict[int, list[str]] = {item_id: [] for item_id in item_ids}
    for item_id, name in rows:
        names[item_id].append(name)
    return names


@pytest.mark.usefixtures("app_context")
def test_a_tag_is_made_by_its_first_use_whatever_its_case(cast: Cast) -> None:
    first, second = write(cast.alice), write(cast.carol)
    made = add(first, "  Scheduler  jobs ")
    assert add(first, "scheduler jobs") == made
    assert add(second, "SCHEDULER JOBS") == made
    assert [(use.tag.name, use.items) for use in tags.all_tags()] == [("Scheduler jobs", 2)]
    assert names_by_item([first, second, 99]) == {first: ["Scheduler jobs"], second: ["Scheduler jobs"], 99: []}
    assert [event.details for event in events("feedback.tagged")] == [{"tag": "Scheduler jobs"}] * 2


@pytest.mark.usefixtures("app_context")
def test_taking_a_tag_off_twice_is_the_same_as_once(cast: Cast) -> None:
    item_id = write(cast.alice)
    tag_id = add(item_id, "Scheduler")
    for _ in range(2):
        with transaction():
            tags.remove_tag(item_id, tag_id, actor=person(PETRA), now=NOW)
    assert names_by_item([item_id]) == {item_id: []}
    assert len(events("feedback.untagged")) == 1
    assert [use.items for use in tags.all_tags()] == [0]


@pytest.mark.usefixtures("app_context")
def test_a_renamed_tag_is_renamed_on_all_items_and_the_second_editor_is_told(cast: Cast) -> None:
    item_id = write(cast.alice)
    tag_id = add(item_id, "Scheduler")
    rename(tag_id, "Schedules", seen="Scheduler")
    with pytest.raises(Conflict, match="“Schedules” in the meantime"):
        rename(tag_id, "Timer", seen="Scheduler")
    assert names_by_item([item_id]) == {item_id: ["Schedules"]}
    rename(tag_id, "SCHEDULES", seen="Schedules")  # another spelling of its own name
    add(item_id, "Recorder")
    with pytest.raises(Conflict, match="another tag “recorder”"):
        rename(tag_id, "recorder", seen="SCHEDULES")
    assert [(event.details["before"], event.details["after"]) for event in events("feedback.tag_renamed")] == [
        ("Scheduler", "Schedules"), ("Schedules", "SCHEDULES"),
    ]  # fmt: skip


@pytest.mark.usefixtures("app_context")
def test_a_removed_tag_goes_from_all_items_and_the_log_remembers_which(cast: Cast) -> None:
    first, second = write(cast.alice), write(cast.carol)
    tag_id = add(first, "Scheduler")
    add(second, "Scheduler")
    add(second, "Recorder")
    with transaction():
        assert tags.delete_tag(tag_id, actor=person(PETRA), now=NOW) == 2
    assert names_by_item([first, second]) == {first: [], second: ["Recorder"]}
    assert events("feedback.tag_removed")[0].details == {"name": "Scheduler", "items": [first, second]}
    with pytest.raises(NotFound), transaction():
        tags.delete_tag(tag_id, actor=person(PETRA), now=NOW)


@pytest.mark.usefixtures("app_context")
def test_names_and_numbers_are_bounded(cast: Cast) -> None:
    item_id = write(cast.alice)
    for name in ("", "  ", "x" * 41, "two\nlines"):
        with pytest.raises(Invalid) as refused:
            add(item_id, name)
        assert refused.value.field == "tag"
    for number in range(tags.TAGS_OF_AN_ITEM):
        add(item_id, f"Tag {number}")
    with pytest.raises(Invalid, match="20 is the most"):
        add(item_id, "One more")
    for unknown in (0, 999, 2**40):
        with pytest.raises(NotFound):
            add(unknown, "Scheduler")
        with pytest.raises(NotFound):
            rename(unknown, "Scheduler", seen="")


def test_two_who_make_the_same_tag_get_the_same_one(app: Flask, cast: Cast) -> None:
    with app.app_context():
        items = [write(cast.alice, f"Item {number}") for number in range(8)]
    start, failures = threading.Barrier(len(items)), []

    def put(item_id: int, name: str) -> None:
        try:
            with app.app_context():
                start.wait()
                add(item_id, name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=put, args=(item_id, ("Scheduler", "SCHEDULER")[item_id % 2])) for item_id in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Tag)) == 1
        assert tags.all_tags()[0].items == len(items)
