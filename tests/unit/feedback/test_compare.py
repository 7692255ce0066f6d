"""Two editions of a text, side by side."""

from hypothesis import given
from hypothesis import strategies as st

from portal.feedback.edits import compare

texts = st.text(st.sampled_from("ab \n.é"), max_size=60)


def test_words_that_changed_are_set_apart() -> None:
    assert list(compare("about 40,000 rows", "about 50,000 rows")) == [
        ("same", "about "), ("out", "40"), ("in", "50"), ("same", ",000 rows"),
    ]  # fmt: skip
    assert list(compare("", "new")) == [("in", "new")]
    assert list(compare("same", "same")) == [("same", "same")]


@given(texts, texts)
def test_the_pieces_are_both_texts(old: str, new: str) -> None:
    pieces = list(compare(old, new))
    assert "".join(text for how, text in pieces if how != "in") == old
    assert "".join(text for how, text in pieces if how != "out") == new


def test_the_longest_texts_are_compared_by_lines() -> None:
    old = "\n".join(f"line {number}" for number in range(2_000))
    pieces = list(compare(old, old.replace("line 7\n", "line seven\n")))
    assert ("out", "line 7\n") in pieces
    assert ("in", "line seven\n") in pieces
