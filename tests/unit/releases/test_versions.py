"""Versions, their order as text, and the kind they propose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from portal.errors import Invalid
from portal.releases.models import Kind
from portal.releases.versions import parse, propose_kind

number = st.one_of(st.integers(0, 3), st.integers(0, 9_999_999_999))


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Versions of every shape of PEP 440 but local ones."""
    epoch = draw(st.sampled_from(["", "", "", "0!", "1!"]))
    release = ".".join(str(part) for part in draw(st.lists(number, min_size=1, max_size=4)))
    pre = draw(st.sampled_from(["", "a", "b", "rc", "-beta.", "_c"]))
    text = epoch + release + (f"{pre}{draw(st.integers(0, 12))}" if pre else "")
    if draw(st.booleans()):
        text += f".post{draw(st.integers(0, 12))}"
    if draw(st.booleans()):
        text += f".dev{draw(st.integers(0, 12))}"
    return text


@given(spellings(), spellings())
def test_keys_sort_as_text_exactly_as_versions_do(one: str, other: str) -> None:
    left, right = parse(one).key, parse(other).key
    assert (left < right) == (Version(one) < Version(other))
    assert (left == right) == (Version(one) == Version(other))


@given(spellings())
def test_keys_are_digits_alone_so_that_every_collation_agrees(text: str) -> None:
    parsed = parse(text)
    assert parsed.key.isdecimal()
    assert parsed.key.isascii()
    assert len(parsed.key) <= 200
    assert parse(parsed.normalised) == parsed


@pytest.mark.parametrize("text", ["15.2", "v15.2.0", " 15.2 ", "15.2.0.0", "0!15.2"])
def test_equal_versions_have_one_key(text: str) -> None:
    assert parse(text).key == parse("15.2").key


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("15.3 beta 2", "15.3b2"),
        ("15.3 Beta2", "15.3b2"),
        ("15.3-b.2", "15.3b2"),
        ("V16.0RC1", "16.0rc1"),
        ("15.03", "15.3"),
        ("1.0-1", "1.0.post1"),
    ],
)
def test_spellings_are_normalised(text: str, normalised: str) -> None:
    assert parse(text).normalised == normalised


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "latest", "15..2", "15.2+windows", "../15.2", "15.2\x00", "١٥.٢", "15.2 and more", "15 3", "poſt1",
        "1" * 11, ".".join("123456789"), "1." * 40 + "0", "9" * 5000,
    ],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse(text)
    assert refusal.value.field == "version"


@pytest.mark.parametrize(
    ("previous", "version", "kind"),
    [
        ("15.2.0", "15.2.1", Kind.POINT),
        ("15.2", "15.2.0.1", Kind.POINT),
        ("15.2.1", "15.2.1.post1", Kind.POINT),
        ("15.2.1", "15.3", Kind.MINOR),
        ("15.2.1", "15.3b2", Kind.MINOR),
        ("15.3", "16.0", Kind.MAJOR),
        ("15.3", "16.0rc1", Kind.MAJOR),
        ("15.3", "15.3.1b1", Kind.POINT),
        (None, "16.0", Kind.MAJOR),
        (None, "16", Kind.MAJOR),
        (None, "15.3b1", Kind.MINOR),
        (None, "15.2.1", Kind.POINT),
    ],
)
def test_the_kind_is_proposed_from_the_step(previous: str | None, version: str, kind: Kind) -> None:
    assert propose_kind(previous, version) is kind
