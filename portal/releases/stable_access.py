"""Who may download the stable builds of a product: everybody, every customer, or priority support alone."""

from datetime import datetime

from portal.account.entitlements import Benefit, Decision, Reason, decide
from portal.account.models import User
from portal.products.models import Product, StableAccess


def decide_download(person: User | None, product: Product, now: datetime, *, contact_id: int | None = None) -> Decision:
    """Answer whether `person` may have the stable builds of `product` at `now`.

    For a product open to all customers any active account of a customer's organisation will do, with or without a live contract:
    who lapsed keeps them. Somebody who only subscribed to release notices is no customer yet: anybody can do that.
    An allowed decision names the contract where there is a live one, for the ledger. With `contact_id`, that seat alone counts.
    """
    decision = decide(person, Benefit.STABLE_BUILDS, product, now, contact_id=contact_id)
    if decision.allowed:
        return decision
    active = decision.reason not in {Reason.SIGNED_OUT, Reason.ACCOUNT_CLOSED}
    is_customer = active and person is not None and person.organization_id is not None
    if product.stable_access is StableAccess.PUBLIC or (is_customer and product.stable_access is StableAccess.CUSTOMERS):
        return Decision(True)
    return Decision(True) if active and person is not None and person.is_staff else decision
