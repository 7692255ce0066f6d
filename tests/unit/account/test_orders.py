"""Prices as people write them, and cells that a spreadsheet must not run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.account import orders
from portal.account.orders import Order
from portal.errors import Invalid
from portal.text import defuse, undefuse

USUAL = Order(49_500, "USD")


@pytest.mark.parametrize(
    ("text", "cents"),
    [("495", 49_500), ("495.5", 49_550), ("495.50", 49_550), (" 1,237.50 ", 123_750), ("0", 0), ("1,000,000", 100_000_000)],
)
def test_prices_are_read_as_people_write_them(text: str, cents: int) -> None:
    assert orders.read_price(text) == cents


@pytest.mark.parametrize("text", ["-1", "495,50", "1,23", "4e2", "495.505", "USD 495", "١٢", "99999999", "1,2345", ".5", "495.", "\x00"])
def test_what_is_no_price_is_refused_at_its_field(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        orders.read_price(text)
    assert refusal.value.field == "price"


@given(st.integers(0, 999_999_999))
def test_a_price_that_was_written_is_read_the_same(cents: int) -> None:
    assert orders.read_price(orders.write_price(cents)) == cents


def test_what_is_left_empty_is_as_usual_but_for_the_reference() -> None:
    assert orders.read("", None, " PO-77 ", instead=Order(1, "EUR", "old")) == Order(1, "EUR", "PO-77")
    assert orders.read("500", "gbp", None, instead=USUAL) == Order(50_000, "GBP")


@pytest.mark.parametrize("currency", ["US", "DOLLAR", "U$D", "12E", "ЕUR"])
def test_a_currency_is_three_letters(currency: str) -> None:
    with pytest.raises(Invalid) as refusal:
        orders.read(None, currency, None, instead=USUAL)
    assert refusal.value.field == "currency"


@given(st.text(alphabet="=+-@＝＠'\t\r\nab ", max_size=6))
def test_a_cell_comes_back_as_it_went_out(cell: str) -> None:
    assert undefuse(defuse(cell)) == cell
    assert not defuse(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
