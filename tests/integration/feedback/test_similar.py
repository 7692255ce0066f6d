"""Similar items while typing: the most alike first, and nothing that the reader may not see."""

import pytest

from portal.feedback import search
from portal.feedback.models import Status, Visibility
from tests.board import answer, merge, release, viewer, vote, write
from tests.cast import Cast
from tests.conftest import NOW

pytestmark = pytest.mark.usefixtures("app_context")


def similar(email: str, text: str, product_id: int = 1) -> list[int]:
    return [one.id for one in search.similar(viewer(email), product_id, text, now=NOW)]


def test_the_most_alike_come_first_and_those_without_a_common_word_not_at_all(cast: Cast) -> None:
    body = write(cast.alice, "Long reports", body="Let me pause a macro.")
    title = write(cast.alice, "Pause a macro while it runs", body="Please.")
    half = write(cast.alice, "Macro names", body="Please.")
    write(cast.alice, "Clipboard history", body="Please.")
    assert similar(cast.bob, "How do I pause a macro") == [title, body, half]
    assert similar(cast.bob, "PAUS") == [title, body]
    assert similar(cast.bob, "") == similar(cast.bob, "?") == similar(cast.bob, "printer") == []


def test_a_rare_word_tells_more_than_a_common_one(cast: Cast) -> None:
    common = [write(cast.alice, f"Macro {number}", body="Please.") for number in range(8)]
    rare = write(cast.alice, "Clipboard", body="Please.")
    assert similar(cast.bob, "macro clipboard")[0] == rare
    assert set(similar(cast.bob, "macro clipboard")[1:]) < set(common)


def test_each_comes_with_its_status_votes_and_whether_we_vote_for_it(cast: Cast) -> None:
    item_id = write(cast.alice, "Pause a macro")
    vote(cast.carol, item_id)
    answer(item_id, Status.PLANNED, version="15.4")
    (one,) = search.similar(viewer(cast.bob), 1, "macro", now=NOW)
    assert (one.title, one.status, one.version, one.votes, one.ours) == ("Pause a macro", Status.PLANNED, "15.4", 2, True)


def test_nothing_is_proposed_that_the_reader_may_not_see(cast: Cast) -> None:
    write(cast.carol, "Private macro", visibility=Visibility.PRIVATE)
    ours = write(cast.alice, "Our macro", visibility=Visibility.PRIVATE)
    other = write(cast.frank, "Macro of another product", slug=cast.other_product)
    about_beta = write(cast.alice, "Macro of a beta", version=_beta())
    merged, target = write(cast.alice, "Macro merged"), write(cast.alice, "Target", body="Please.")
    merge(merged, target)
    assert set(similar(cast.bob, "macro")) == {ours, about_beta}
    assert similar(cast.dave, "macro") == []
    assert similar(cast.frank, "macro") == []
    assert similar(cast.frank, "macro", product_id=2) == [other]
    assert similar(cast.erin, "macro") == []


@pytest.mark.parametrize("limit", ["SIMILAR_READ", "SIMILAR_RANKED"])
def test_what_others_keep_private_crowds_nothing_out_and_weighs_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(search, limit, 2)
    macro, pause = write(cast.alice, "Macro", body="Please."), write(cast.alice, "Pause", body="Please.")
    assert similar(cast.bob, "macro pause") == [pause, macro]
    for _ in range(3):
        write(cast.carol, "Pause the pause", visibility=Visibility.PRIVATE)
        write(cast.carol, "Pause a macro", visibility=Visibility.PRIVATE)
    assert similar(cast.bob, "macro pause") == [pause, macro]


def _beta() -> str:
    release("15.3b1")
    return "15.3b1"
