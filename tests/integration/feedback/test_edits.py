"""Changing what an item says: by whom, until when, and nothing overwritten."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import Flask

from portal.database import db, transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import edits
from portal.feedback.edits import Overtaken
from portal.feedback.models import Item, Status, Visibility
from portal.feedback.writing_models import Edition
from tests.board import answer, suspended, viewer, write
from tests.cast import Cast
from tests.conftest import NOW

LATER = NOW + timedelta(hours=1)


def change(email: str, item_id: int, title: str = "Pause it", body: str = "Another body.", number: int = 1) -> bool:
    with transaction():
        return edits.edit(viewer(email), item_id, title=title, body=body, number=number, now=LATER)


def said(item_id: int) -> tuple[str, str]:
    item = db.session.get_one(Item, item_id)
    return item.title, item.body


@pytest.mark.usefixtures("app_context")
def test_each_edition_is_kept_with_who_made_it_and_what_changed(cast: Cast) -> None:
    item_id = write(cast.alice)
    assert edits.history(viewer(cast.alice), db.session.get_one(Item, item_id)) == []
    assert change(cast.alice, item_id)
    assert change(cast.petra, item_id, "Pause it well", number=2)
    assert not change(cast.petra, item_id, "Pause it well", number=3)
    third, second, first = edits.history(viewer(cast.carol), db.session.get_one(Item, item_id))
    assert [(one.edition.number, one.edition.by.email, one.edition.at) for one in (first, second, third)] == [
        (1, cast.alice, NOW), (2, cast.alice, LATER), (3, cast.petra, LATER),
    ]  # fmt: skip
    assert first.edition.title == "Pause a macro"
    assert third.title == [("same", "Pause it"), ("in", " well")]
    assert said(item_id) == ("Pause it well", "Another body.")


@pytest.mark.usefixtures("app_context")
def test_the_author_changes_it_while_it_is_under_review_or_planned(cast: Cast) -> None:
    item_id = write(cast.alice)
    answer(item_id, Status.PLANNED)
    assert change(cast.alice, item_id)
    answer(item_id, Status.DECLINED, reason="Too risky.")
    with pytest.raises(Conflict, match="Say what is new in a comment"):
        change(cast.alice, item_id, number=2)
    assert change(cast.petra, item_id, "By staff", number=2)


@pytest.mark.usefixtures("app_context")
def test_while_it_is_in_a_beta_words_are_only_taken_out(cast: Cast) -> None:
    """The lapsed read title and body, and nothing of betas."""
    item_id = write(cast.alice, "Pause a running macro", body="My password is hunter2.\n\nLong reports lock up.")
    answer(item_id, Status.IN_BETA, version="15.4b1")
    with pytest.raises(Invalid, match="none added") as refused:
        change(cast.petra, item_id, "Pause a running macro in beta 1", said(item_id)[1])
    assert refused.value.field == "title"
    with pytest.raises(Invalid, match="none added") as refused:
        change(cast.petra, item_id, "Pause a macro", "Long reports lock up. Solved in 15.4b1.")
    assert refused.value.field == "body"
    assert change(cast.petra, item_id, "Pause a macro", "Long reports lock up.")
    answer(item_id, Status.SHIPPED, version="15.4")
    assert change(cast.petra, item_id, "Pause a macro", "Long reports lock up. They no longer do.", number=2)


@pytest.mark.usefixtures("app_context")
def test_nobody_else_changes_it(cast: Cast) -> None:
    item_id = write(cast.alice)
    private = write(cast.alice, visibility=Visibility.PRIVATE)
    for email in (cast.bob, cast.carol, cast.dave):
        with pytest.raises(Conflict, match="Only its author"):
            change(email, item_id)
    for email in (cast.carol, cast.erin, cast.frank):
        with pytest.raises(NotFound):
            change(email, private)
    with suspended(cast.contract), pytest.raises(Conflict, match="contract is live"):
        change(cast.alice, item_id)
    assert said(item_id) == ("Pause a macro", "Long reports lock up.")


@pytest.mark.usefixtures("app_context")
def test_whoever_began_from_an_older_edition_is_told_and_overwrites_nothing(cast: Cast) -> None:
    item_id = write(cast.alice)
    change(cast.petra, item_id, "By staff")
    with pytest.raises(Overtaken):
        change(cast.alice, item_id, "By its author")
    assert said(item_id)[0] == "By staff"


@pytest.mark.usefixtures("app_context")
def test_an_edition_is_cleaned_and_bounded_like_the_original(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    item_id = write(cast.alice)
    for title, body, field in (
        ("", "x", "title"),
        ("x", " ", "body"),
        ("x" * 161, "x", "title"),
        ("a\nb", "x", "title"),
        ("x", "\0", "body"),
    ):
        with pytest.raises(Invalid) as refused:
            change(cast.alice, item_id, title, body)
        assert refused.value.field == field
    monkeypatch.setattr(edits, "MOST_EDITIONS", 2)
    change(cast.alice, item_id)
    with pytest.raises(Conflict, match="which is the most"):
        change(cast.alice, item_id, "Once more", number=2)


@pytest.mark.usefixtures("app_context")
def test_what_it_says_now_is_what_a_search_finds(cast: Cast) -> None:
    from portal.feedback import board
    from portal.feedback.board import Filter
    from portal.feedback.paging import Place

    item_id = write(cast.alice, "Zebra report")
    change(cast.alice, item_id, "Giraffe report")

    def found(word: str) -> int:
        return len(board.list_items(viewer(cast.carol), Filter(search=word), Place(), now=NOW).rows)

    assert (found("zebra"), found("giraffe")) == (0, 1)


@pytest.mark.usefixtures("app_context")
def test_the_lapsed_read_no_earlier_editions(cast: Cast) -> None:
    item_id = write(cast.alice)
    change(cast.alice, item_id)
    assert edits.history(viewer(cast.dave), db.session.get_one(Item, item_id)) == []


def test_of_many_editors_at_once_one_wins_and_the_others_are_told(app: Flask, cast: Cast) -> None:
    with app.app_context():
        item_id = write(cast.alice)
        db.session.remove()
    together = Barrier(6)

    def attempt(number: int) -> bool:
        with app.app_context():
            try:
                together.wait(10)
                return change(cast.alice if number % 2 else cast.petra, item_id, f"Title {number}")
            except Overtaken:
                return False
            finally:
                db.session.remove()

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(attempt, range(6)))
    assert done.count(True) == 1
    with app.app_context():
        assert said(item_id)[0] == f"Title {done.index(True)}"
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Edition)) == 2
        db.session.remove()
