"""What a search, and a text, is taken apart into: words, and nothing that a database could take for a command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.feedback.search import WORD_LENGTH, WORDS_LIMIT, words_of, words_searched


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Pause a macro", ["pause", "a", "macro"]),
        ("ÜBER Straße, naïve café", ["uber", "strasse", "naive", "cafe"]),
        ("e\u0301te\u0301 été", ["ete", "ete"]),
        ("'; DROP TABLE users; --", ["drop", "table", "users"]),
        ('"a b" NEAR(c) x* -y (z OR w)', ["a", "b", "near", "c", "x", "y", "z", "or", "w"]),
        ("100% off_by_one v15.3b2", ["100", "off", "by", "one", "v15", "3b2"]),
        ("ﬁle № ２", ["file", "no", "2"]),
        ("한국어 단어", words_of("한국어") + words_of("단어")),
        ("マクロを止める macro", ["マ", "ク", "ロ", "を", "止", "め", "る", "macro"]),
        ("пауза ПАУЗА Ёлка", ["пауза", "пауза", "елка"]),
        ("\0 … % _ ' \\", []),
    ],
)
def test_words_are_letters_and_digits_without_case_and_accents(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_search_has_so_many_words_each_once_and_none_is_endless() -> None:
    assert words_searched("b a B a") == ["b", "a"]
    assert len(words_searched(" ".join(f"word{number}" for number in range(20)))) == WORDS_LIMIT
    assert words_of("x" * 5000) == ["x" * WORD_LENGTH]


@given(st.text())
def test_a_word_holds_nothing_but_letters_and_digits_and_taken_apart_again_is_itself(text: str) -> None:
    for word in words_of(text):
        assert word.isalnum()
        assert "".join(words_of(word)) == word
