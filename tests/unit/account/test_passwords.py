"""What makes a password good enough."""

import pytest

from portal.account import passwords

ALICE = passwords.words_of(["Alice Example", "alice.example@logistics.example.org", "Example Logistics", "Macro Studio", "NW-2041"])


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "zq vexum ply",
        "ein zug fährt nach łódź",
        "δοκιμή του κωδικού",
        "lowercaseonlybutodd",
        "🐌🐙🪗🧵🪣🧂🪤🦔🛼🪆🧿🪬",
        "the snail of alice plays chess at dawn",
        "x" * 30 + "ab frogs dance",
    ],
)
def test_any_characters_make_a_good_password(password: str) -> None:
    assert passwords.weakness(password, ALICE) is None


@pytest.mark.parametrize(
    ("password", "because"),
    [
        ("aaaaaaaaaaaa", "repeats itself"),
        ("abcabcabcabcabc", "repeats itself"),
        ("abcdefghijklmnop", "counts up or down"),
        ("password1234", "tried first"),
        ("qwertyuiop12", "tried first"),
        ("p@ssw0rdp@ssw0rd", "repeats itself"),
    ],
)
def test_what_is_tried_first_is_refused_with_the_reason(password: str, because: str) -> None:
    weakness = passwords.weakness(password, ALICE)
    assert weakness is not None
    assert because in weakness
    assert weakness.endswith("Add more words, ones that do not belong together.")


@pytest.mark.parametrize(
    "password",
    [
        "AliceExample",
        "alice.example",
        "@lice3x@mple",
        "elpmaxe ecila",
        "MacroStudio1",
        "macro studio!",
        "examplelogistics",
        "NW-2041NW-2041",
    ],
)
def test_the_persons_own_words_are_refused(password: str) -> None:
    weakness = passwords.weakness(password, ALICE)
    assert weakness is not None
    assert "your name, your address, your organisation or our product" in weakness or "repeats" in weakness


def test_one_persons_words_are_not_held_against_another() -> None:
    assert passwords.weakness("Zoroaster Quimby", passwords.words_of(["Zoroaster Quimby"])) is not None
    assert passwords.weakness("Zoroaster Quimby", ALICE) is None


def test_short_words_of_the_surroundings_are_left_out() -> None:
    assert passwords.words_of(["Jo de la Cruz", "", "A-1"]) == ["jo de la cruz", "jodelacruz", "cruz"]


def test_only_the_front_is_weighed_so_that_symbols_cannot_keep_a_processor_busy() -> None:
    assert passwords.weakness("4@8({[<369&#!1/|0$5+7%2" * 5, ALICE) is None
    assert passwords.weakness("a" * passwords.MOST_WEIGHED + "zq vexum ply", ALICE) is not None
