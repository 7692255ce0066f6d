"""Search finds the words that items hold, alike on both databases, whatever is typed and however items change."""

import random

import flask_migrate
import pytest
import sqlalchemy as sa

from portal.database import db, transaction
from portal.feedback import board, search, writing
from portal.feedback.board import Filter, Scope, Sort
from portal.feedback.models import Item, ItemKind, Status, Visibility
from portal.feedback.paging import Place
from tests.board import answer, merge, product, unmerge, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def found(email: str, words: str, **filters: object) -> list[int]:
    wanted = Filter(search=words, **filters)  # type: ignore[arg-type]
    return [row.item.id for row in board.list_items(viewer(email), wanted, Place(), now=NOW).rows]


def counts(email: str, words: str) -> board.Counts:
    return board.read(viewer(email), Filter(search=words), Place(), now=NOW)[1]


def test_each_word_is_found_by_its_beginning_in_title_or_body_whatever_its_case_and_accents(cast: Cast) -> None:
    item_id = write(cast.alice, "Pausing a macro", body="Überlange Listen halten 15 Minuten an; 日本語も.")
    write(cast.alice, "Clipboard", body="Nothing of the kind.")
    for words in ("macro", "MAC", "paus listen", "uber", "überlange", "15 minuten", "日本", "a"):
        assert found(cast.alice, words) == [item_id], words
    for words in ("acro", "ma", "macro clipboard", "1", "150", "日本人"):
        assert found(cast.alice, words) == [], words
    assert len(found(cast.alice, "")) == len(found(cast.alice, "  ")) == 2


COMMANDS = (
    '"', "''", "macro OR clipboard", "macro AND", "NOT macro", "NEAR(macro pausing)", "title:macro", "{title} : macro", "^macro",
    "macro -pausing", "ma*o", "m_cro", "m%", "(macro", "macro | x", "!macro", "macro & ", "<-> macro", ":*", "\\", "macro\0x",
    "'p1'", "#1", "p1", "\ud800",
)  # fmt: skip


def test_what_is_typed_is_never_a_command(cast: Cast) -> None:
    item_id = write(cast.alice, "Pausing a macro")
    for typed in COMMANDS:
        words = search.words_of(typed)
        assert found(cast.alice, typed) == ([item_id] if words and set(words) <= {"pausing", "macro"} else []), typed


def test_the_index_follows_edits_withdrawals_and_merges(cast: Cast) -> None:
    item_id, target = write(cast.alice, "Pausing a macro", body="Old words"), write(cast.alice, "Another", body="Other")
    with transaction():
        item = db.session.get_one(Item, item_id)
        item.title, item.body = "Stopping a macro", "New words"
    assert found(cast.alice, "pausing") == found(cast.alice, "old") == []
    assert found(cast.alice, "stopping new") == [item_id]
    merge(item_id, target)
    assert found(cast.alice, "stopping") == []
    unmerge(item_id)
    assert found(cast.alice, "stopping") == [item_id]


def test_what_is_erased_is_in_no_index(cast: Cast) -> None:
    item_id = write(cast.alice, "Pausing a macro", body="A secret")
    with transaction():
        db.session.execute(sa.update(Item).where(Item.id == item_id).values(title="Erased", body=""))
        search.reindex([item_id])
    assert db.session.scalar(sa.text("SELECT count(*) FROM feedback_search")) == 1
    assert found(cast.alice, "secret") == []
    assert found(cast.alice, "erased") == [item_id]


def test_a_rolled_back_item_is_in_no_index(cast: Cast) -> None:
    with pytest.raises(RuntimeError):
        _add_and_fail(cast)
    assert db.session.scalar(sa.text("SELECT count(*) FROM feedback_search")) == 0


def _add_and_fail(cast: Cast) -> None:
    with transaction() as session:
        author = viewer(cast.alice)
        writing.write(author, product=product(), kind=ItemKind.IDEA, title="Gone", body="Gone", visibility=Visibility.SUBSCRIBERS, now=NOW)
        assert session.scalar(sa.text("SELECT count(*) FROM feedback_search")) == 1
        raise RuntimeError


def test_nobody_finds_more_than_they_may_read(cast: Cast) -> None:
    private = write(cast.carol, "Private macro", visibility=Visibility.PRIVATE)
    other = write(cast.frank, "Macro of another product", slug=cast.other_product)
    assert (found(cast.alice, "macro"), counts(cast.alice, "macro").total) == ([], 0)
    assert found(cast.carol, "macro") == [private]
    assert found(cast.frank, "macro") == [other]
    assert set(found(cast.petra, "macro")) == {private, other}
    assert found(cast.petra, "macro", product_id=2) == [other]


def test_neither_numbers_nor_that_there_are_many_tell_of_what_others_keep_private(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MANY", 3)
    ours = [write(cast.alice, f"Macro {number}") for number in range(2)]
    for number in range(3):
        write(cast.carol, f"Macro of theirs {number}", visibility=Visibility.PRIVATE)
    merge(write(cast.alice, "Macro merged"), ours[0])
    assert counts(cast.alice, "macro") == board.Counts({Status.UNDER_REVIEW: 2}, more=False)
    assert found(cast.alice, "macro") == ours[::-1]
    assert counts(cast.carol, "macro") == board.Counts({Status.UNDER_REVIEW: 3}, more=True)


@pytest.mark.parametrize("many", [2000, 3])
def test_few_and_many_are_found_in_the_same_order(cast: Cast, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(search, "MANY", many)
    ids = [write(cast.alice, f"Macro {number}") for number in range(6)]
    vote(cast.carol, ids[2])
    vote(cast.carol, ids[4])
    write(cast.alice, "Nothing")
    answer(ids[0], Status.PLANNED)
    assert found(cast.alice, "macro") == [ids[4], ids[2], *sorted({*ids} - {ids[4], ids[2]}, reverse=True)]
    assert found(cast.alice, "macro", sort=Sort.NEWEST) == sorted(ids, reverse=True)
    assert found(cast.alice, "macro", status=Status.PLANNED) == [ids[0]]
    assert found(cast.carol, "macro", scope=Scope.VOTED) == [ids[4], ids[2]]
    if many == 3:
        assert counts(cast.alice, "macro") == board.Counts({Status.UNDER_REVIEW: 3}, more=True)
    else:
        assert counts(cast.alice, "macro") == board.Counts({Status.UNDER_REVIEW: 5, Status.PLANNED: 1}, more=False)


def test_any_text_is_found_by_the_words_it_holds_and_by_no_others(cast: Cast) -> None:
    dice = random.Random(7)
    letters = "aäbBß éЖ日 1_-'\"%*:&|!()\\.\u0301"
    texts = ["".join(dice.choices(letters, k=dice.randrange(4, 30))) + "x" for _ in range(25)]
    held = {write(cast.alice, text, body="Please"): ["please", *search.words_of(text)] for text in texts}
    for _ in range(60):
        typed = "".join(dice.choices(letters, k=dice.randrange(1, 7)))
        words = search.words_searched(typed)
        expected = {item_id for item_id, there in held.items() if words and all(_is_held(word, there) for word in words)}
        if typed.strip():
            rows = board.list_items(viewer(cast.alice), Filter(search=typed), Place(), now=NOW, size=50).rows
            assert {row.item.id for row in rows} == expected, typed


def _is_held(word: str, there: list[str]) -> bool:
    begins = len(word) >= search.PREFIX_LENGTH and not word.isdigit()
    return any(other == word or (begins and other.startswith(word)) for other in there)


def test_a_migration_indexes_what_is_there(cast: Cast) -> None:
    item_id = write(cast.alice, "Überlange 日本 Listen", body="p1 15 \u0130stanbul ﬁle")
    vote(cast.carol, item_id)
    before = db.session.execute(sa.text("SELECT * FROM feedback_search")).all()
    db.session.remove()
    flask_migrate.downgrade(revision="0008")
    flask_migrate.upgrade()
    assert db.session.execute(sa.text("SELECT * FROM feedback_search")).all() == before
    assert found(cast.alice, "uber 日本 istanbul file") == [item_id]
    assert board.list_items(viewer(cast.alice), Filter(), Place(), now=NOW).rows[0].votes == 2
