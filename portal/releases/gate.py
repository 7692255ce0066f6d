"""The gate in front of betas: every page, byte range, feed entry and answer about a beta asks it first."""

from datetime import datetime

from portal.account.entitlements import Benefit, Decision, decide
from portal.account.models import User
from portal.products.models import Product

# The vendor's own people who work on betas. They need no contract, and accept no terms.
STAFF_ROLES = frozenset({"publisher", "product", "admin"})


def gate(person: User | None, product: Product, now: datetime, *, contact_id: int | None = None) -> Decision:
    """Answer whether `person` may have the betas of `product` at `now`. Staff may, under no contract.

    With `contact_id`, that seat alone counts (personal tokens).
    """
    if is_beta_staff(person):
        return Decision(True)
    return decide(person, Benefit.BETAS, product, now, contact_id=contact_id)


def is_beta_staff(person: User | None) -> bool:
    return person is not None and person.is_authenticated and person.active and bool(person.role_names & STAFF_ROLES)
