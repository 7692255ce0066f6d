"""Slugs stand in addresses for good."""

import pytest

from portal.products.catalog import is_slug


@pytest.mark.parametrize("text", ["macro-studio", "a", "3d", "x" * 60])
def test_slugs(text: str) -> None:
    assert is_slug(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a--b", "Macro", "a b", "a/b", "größe", "a\n", "x" * 61, "a\x00"])
def test_no_slugs(text: str) -> None:
    assert not is_slug(text)
