"""The cast can be assembled, and the gate tells its members apart."""

import pytest
import sqlalchemy as sa

from portal.account.entitlements import Benefit, Reason, decide
from portal.account.models import User
from portal.database import db
from portal.products.models import Product
from tests.cast import Cast
from tests.conftest import NOW


@pytest.mark.usefixtures("app_context")
def test_the_gate_tells_the_cast_apart(cast: Cast) -> None:
    product = db.session.scalars(sa.select(Product).where(Product.slug == cast.product)).one()
    expected = {
        cast.alice: None,
        cast.bob: None,
        cast.carol: None,
        cast.dave: Reason.EXPIRED,
        cast.erin: Reason.NO_CONTRACT,
        cast.frank: Reason.WRONG_PRODUCT,
    }
    people = {person.email: person for person in db.session.scalars(sa.select(User))}
    assert {email: decide(people[email], Benefit.BETAS, product, NOW).reason for email in expected} == expected
