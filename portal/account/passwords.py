"""What makes a password good enough: length, and how many guesses it would take (NIST SP 800-63B-4, 3.1.1.2).

Any characters may be used, none must be. Nothing expires. What people often choose, and words of the person's own surroundings,
count as what a guesser tries first.
"""

import re
from collections.abc import Iterable
from typing import Any

from portal.account import access_tokens
from portal.account.models import User
from portal.config import current_settings
from portal.products import catalog

SHORTEST = 12
LONGEST = 128
HELP = f"At least {SHORTEST} characters. Several words that do not belong together are easier to remember than symbols."
# From here on a password withstands guessing at a stolen database for a while (zxcvbn's score 3 of 4).
FEWEST_GUESSES = 10**8
# Characters that are weighed, from the front: what follows can only make it better, and some rows of symbols take long.
MOST_WEIGHED = 40
# Letters and digits that a password has to have besides words of the person's surroundings.
FEWEST_BESIDES = 4
# Words shorter than this stand in many good passwords.
SHORTEST_WORD = 4

_SURROUNDINGS = "user_inputs"  # the estimator's own name for them
_REASONS = {
    "repeat": "it repeats itself",
    "spatial": "its characters lie side by side on the keyboard",
    "sequence": "it counts up or down, as in abcd or 6543",
    "date": "it is a date or a year",
    "regex": "it is a date or a year",
}
_OWN = "it is built on your name, your address, your organisation or our product"
_COMMON = "it is among the words and passwords that are tried first"


def surroundings(person: User | None) -> list[str]:
    """Return the words a guesser would try for this person: of name, address, organisation, products, vendor and portal."""
    settings = current_settings()
    texts = [settings.vendor_name, settings.portal_name, settings.public_host, *(product.name for product in catalog.all_products())]
    if person is not None:
        texts += [person.name, person.email, person.organization.name if person.organization else ""]
        if person.id is not None:
            texts += [seat.contract.number for seat in access_tokens.seats_of(person)]
    return words_of(texts)


def words_of(texts: Iterable[str]) -> list[str]:
    """Return the texts and the words in them, in lower case, each once, the short ones left out."""
    lowered = [text.lower() for text in texts]
    words = [*lowered, *(re.sub(r"\W+", "", text) for text in lowered), *(word for text in lowered for word in re.split(r"[\W_]+", text))]
    return [word for word in dict.fromkeys(words) if len(word) >= SHORTEST_WORD]


def weakness(password: str, words: Iterable[str]) -> str | None:
    """Say, in a sentence for the person, why a password of the right length is too easy to guess; None when it is not.

    `words` are tried before all others, the first ones first.
    """
    words = list(words)
    guesses, sequence = _estimate(password[:MOST_WEIGHED], words)
    if _is_built_on(password, words):
        reason = _OWN
    elif guesses >= FEWEST_GUESSES:
        return None
    else:
        reason = _reason(sequence)
    return f"This password is easy to guess: {reason}. Add more words, ones that do not belong together."


def _is_built_on(password: str, words: list[str]) -> bool:
    """Whether hardly any letters and digits are left of a password when the given words are struck out of it, the longest first."""
    left = password.lower()
    for word in sorted(words, key=len, reverse=True):
        left = left.replace(word, " ")
    return left != password.lower() and sum(character.isalnum() for character in left) < FEWEST_BESIDES


def _estimate(password: str, words: Iterable[str]) -> tuple[float, list[dict[str, Any]]]:
    """Return the guesses it takes, and the parts it was seen as.

    The library's front door keeps a person's words in a table that all threads share; here they are in one of their own.
    """
    from zxcvbn import matching, scoring  # its word lists take 14 MB, which most processes never need

    ranked = {**matching.RANKED_DICTIONARIES, _SURROUNDINGS: matching.build_ranked_dict(list(words))}
    found: Any = scoring.most_guessable_match_sequence(password, matching.omnimatch(password, ranked))
    return float(found["guesses"]), list(found["sequence"])


def _reason(sequence: list[dict[str, Any]]) -> str:
    """Why it is easy: by the person's own words if it holds any, else by its longest part."""
    if any(part.get("dictionary_name") == _SURROUNDINGS for part in sequence):
        return _OWN
    known = [part for part in sequence if part["pattern"] != "bruteforce"]
    if not known:
        return "it is too simple"
    longest = max(known, key=lambda part: len(part["token"]))
    return _REASONS.get(longest["pattern"], _COMMON)
