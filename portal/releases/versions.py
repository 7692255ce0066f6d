"""Versions as PEP 440 reads them, and the text that makes a database sort them alike."""

import re
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from portal.errors import Invalid
from portal.releases.models import Kind

LONGEST = 60
_LONGEST_SPELLING = 200
_PARTS = 8
_DIGITS = 10
_PRE_RANKS = {"a": "1", "b": "2", "rc": "3"}
_DEV_RANK, _FINAL_RANK = "0", "4"
_SPACE_BESIDE_LETTER = re.compile(r"(?<=[0-9]) +(?=[A-Za-z])|(?<=[A-Za-z]) +(?=[0-9])")


@dataclass(frozen=True)
class ParsedVersion:
    """A version: `normalised` as shown in URLs and file names, `key` equal for equal versions and sorting as text like them."""

    normalised: str
    key: str
    is_prerelease: bool


def parse(text: str) -> ParsedVersion:
    """Read a version in any spelling of PEP 440, or as our pages say it: ` v15.3-beta.2 ` and `15.3 beta 2` are `15.3b2`.

    Raises Invalid for anything else, for local versions (`1.0+linux`), and for numbers too long to be sorted.
    """
    version = _read(text)
    if version.local is not None:
        raise Invalid("A version must not have a part after +. Give the platform with the build instead.", "version")
    numbers = [*version.release, version.epoch, *(part for part in (version.post, version.dev) if part is not None)]
    numbers += [version.pre[1]] if version.pre else []
    if len(str(version)) > LONGEST or any(number >= 10**_DIGITS for number in numbers) or len(_significant(version)) > _PARTS:
        raise Invalid(f"The version is too long. {_PARTS} numbers of {_DIGITS} digits are the most.", "version")
    return ParsedVersion(str(version), _key(version), version.is_prerelease)


def propose_kind(previous: str | None, version: str) -> Kind:
    """Propose how far `version` moves from `previous`, the stable version before it; a beta counts as what it will become.

    Without a previous version its own shape decides: 16.0 is major, 15.3 minor, 15.2.1 a point release.
    """
    release = _three_parts(version)
    if previous is not None:
        before = _three_parts(previous)
        if release[0] != before[0]:
            return Kind.MAJOR
        return Kind.MINOR if release[1] != before[1] else Kind.POINT
    if release[2]:
        return Kind.POINT
    return Kind.MINOR if release[1] else Kind.MAJOR


def final_key(version: str) -> str:
    """Return the key of the final that a beta becomes: that of 15.3 for 15.3b2. A final's own otherwise."""
    return _key(Version(_read(version).base_version))


def keys_before_final(version: str) -> tuple[str, str]:
    """Return the bounds [first, last) within which the keys of all betas of a final stand, and no others."""
    numbers = _numbers(_read(version))
    return numbers + _DEV_RANK, numbers + _FINAL_RANK


def _read(text: str) -> Version:
    try:
        if text.isascii() and len(text) <= _LONGEST_SPELLING:
            return Version(_SPACE_BESIDE_LETTER.sub("", text))
    except InvalidVersion:
        pass
    raise Invalid(f"{text.strip()[:LONGEST]!r} is no version. Write it like 15.2.1, or 15.3b2 for the second beta of 15.3.", "version")


def _three_parts(text: str) -> tuple[int, ...]:
    """The first three numbers, what follows them counted into the third: 15.2.0.4 moves as far as a point release."""
    first, second, *rest = (*_read(text).release, 0, 0)
    return first, second, max(rest)


def _significant(version: Version) -> tuple[int, ...]:
    """The numbers without trailing zeros, which mean nothing: 15.2.0 is 15.2."""
    release = version.release
    while len(release) > 1 and release[-1] == 0:
        release = release[:-1]
    return release


def _key(version: Version) -> str:
    """Spell the order of PEP 440 in digits alone, which every collation sorts the same way.

    Each number has a fixed width, and a digit in front says what it is, in the order it sorts: 0 ends the list of numbers;
    then a development release of the version itself, alpha, beta, release candidate, final; then post and development.
    """
    if version.pre is not None:
        pre = _PRE_RANKS[version.pre[0]] + _padded(version.pre[1])
    else:
        only_dev = version.dev is not None and version.post is None
        pre = (_DEV_RANK if only_dev else _FINAL_RANK) + _padded(0)
    post = f"0{_padded(0)}" if version.post is None else f"1{_padded(version.post)}"
    dev = f"1{_padded(0)}" if version.dev is None else f"0{_padded(version.dev)}"
    return _numbers(version) + pre + post + dev


def _numbers(version: Version) -> str:
    """The part of a key that betas share with their final."""
    return _padded(version.epoch) + "".join(f"1{_padded(number)}" for number in _significant(version)) + "0"


def _padded(number: int) -> str:
    return f"{number:0{_DIGITS}d}"
