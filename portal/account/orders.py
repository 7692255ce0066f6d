"""What a term costs and which order it answers, as people type and read it."""

import re
from decimal import Decimal
from typing import NamedTuple

from portal.config import CURRENCY, current_settings
from portal.errors import Invalid
from portal.text import clean_line

# Below ten million, with cents or without; commas between thousands are how people write, and mean nothing.
_PRICE = re.compile(r"[0-9]{1,7}(\.[0-9]{1,2})?", re.ASCII)


class Order(NamedTuple):
    """The price of a whole term in hundredths of the currency (ISO 4217), and the customer's reference."""

    price_cents: int
    currency: str
    reference: str = ""


def usual() -> Order:
    """What twelve months cost unless somebody says otherwise."""
    settings = current_settings()
    return Order(settings.contract_price * 100, settings.contract_currency)


def read(price: str | None, currency: str | None, reference: str | None, *, instead: Order) -> Order:
    """Return the order that was typed; what was left empty is as in `instead`, but for the reference.

    Raises Invalid at `price`, `currency` or `order_reference`.
    """
    return Order(
        read_price(price) if price and price.strip() else instead.price_cents,
        _read_currency(currency) if currency and currency.strip() else instead.currency,
        clean_line(reference or "", "order_reference", 80, required=False),
    )


def read_price(text: str) -> int:
    """Return a price in hundredths. Raises Invalid at `price`."""
    plain = text.strip().replace(",", "") if re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", text.strip(), re.ASCII) else text.strip()
    if not _PRICE.fullmatch(plain):
        raise Invalid(f"{text} is no price we can read. Write it like 495 or 495.50.", "price")
    return int(Decimal(plain) * 100)


def write_price(cents: int) -> str:
    """Return a price the way `read_price` reads it: 495, 495.50."""
    whole, rest = divmod(cents, 100)
    return f"{whole}.{rest:02}" if rest else str(whole)


def _read_currency(text: str) -> str:
    code = text.strip().upper()
    if not CURRENCY.fullmatch(code):
        raise Invalid(f"{text} is no currency. Write three letters, such as USD.", "currency")
    return code
