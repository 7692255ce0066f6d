"""`decide` and its twin in SQL never disagree, whatever the organisations, contracts, zones, terms, seats and instants."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.account.entitlements import Benefit, decide, entitled, entitled_products
from portal.account.models import Contact, Contract, Organization, Term, User
from portal.clock import civil_date
from portal.database import db
from portal.products.models import Product

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Pacific/Chatham"]

# Days from today at which a term starts, and how many it lasts: small numbers, so that edges are hit often.
terms = st.lists(st.tuples(st.integers(-8, 8), st.integers(0, 8)), max_size=3, unique_by=lambda term: term[0])
contracts = st.lists(
    st.fixed_dictionaries(
        {
            "organization": st.integers(0, 1),
            "product": st.integers(0, 1),
            "zone": st.sampled_from(ZONES),
            "suspended": st.sampled_from([False, False, False, True]),
            "cancelled": st.sampled_from([False, False, False, True]),
            "terms": terms,
        }
    ),
    max_size=4,
)
people = st.lists(
    st.fixed_dictionaries({"active": st.sampled_from([True, True, True, False]), "organization": st.sampled_from([None, 0, 1])}),
    min_size=1,
    max_size=4,
)
seats = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([1, 2]), st.booleans()), max_size=10)
# Around a midnight somewhere: the hours around noon UTC are midnight in the far zones.
instants = st.builds(
    lambda hours, seconds: datetime(2026, 11, 24, tzinfo=UTC) + timedelta(hours=hours, seconds=seconds),
    st.integers(-30, 30),
    st.sampled_from([-1, 0, 1, 1800, 900]),
)


@pytest.mark.usefixtures("app_context")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contracts=contracts, people=people, seats=seats, now=instants)
def test_the_decision_and_its_twin_in_sql_are_equal(
    contracts: list[dict[str, object]],
    people: list[dict[str, object]],
    seats: list[tuple[int, int, int, bool]],
    now: datetime,
) -> None:
    try:
        persons, products = _build(contracts, people, seats, now)
        for product in products:
            by_list = set(db.session.scalars(entitled(Benefit.BETAS, product.id, now)))
            by_decision = {person.id for person in persons if decide(person, Benefit.BETAS, product, now).allowed}
            assert by_list == by_decision
            some = [person.id for person in persons[::2]]
            assert set(db.session.scalars(entitled(Benefit.BETAS, product.id, now, among=some))) == by_decision & set(some)
        for person in persons:
            allowed = [product for product in products if decide(person, Benefit.BETAS, product, now).allowed]
            assert entitled_products(person, now) == allowed
    finally:
        db.session.rollback()


def _build(
    contracts: list[dict[str, object]], people: list[dict[str, object]], seats: list[tuple[int, int, int, bool]], now: datetime
) -> tuple[list[User], list[Product]]:
    session = db.session
    products = [Product(slug=f"p{n}", name=f"Product {n}", created_at=now) for n in range(2)]
    organizations = [Organization(name=f"Example {n}", created_at=now) for n in range(2)]
    session.add_all([*products, *organizations])
    session.flush()
    rows = []
    for number, given_ in enumerate(contracts):
        contract = Contract(
            number=f"C-{number}",
            organization=organizations[given_["organization"]],  # type: ignore[call-overload]
            product=products[given_["product"]],  # type: ignore[call-overload]
            time_zone=given_["zone"],
            created_at=now,
            suspended_at=now if given_["suspended"] else None,
            cancelled_at=now if given_["cancelled"] else None,
        )
        session.add(contract)
        session.flush()
        today = civil_date(now, contract.time_zone)
        for start, length in given_["terms"]:  # type: ignore[attr-defined]
            starts_on = today + timedelta(days=start)
            session.add(Term(contract_id=contract.id, starts_on=starts_on, ends_on=starts_on + timedelta(days=length), created_at=now))
        rows.append(contract)
    persons = []
    for number, one in enumerate(people):
        person = User(
            email=f"person{number}@example.org", fs_uniquifier=f"u{number}", active=one["active"], created_at=now,
            organization=None if one["organization"] is None else organizations[one["organization"]],  # type: ignore[call-overload]
        )  # fmt: skip
        session.add(person)
        persons.append(person)
    session.flush()
    taken: set[tuple[str, int, int]] = set()
    for who, where, seat, released in seats:
        if who >= len(persons) or where >= len(rows):
            continue
        keys = {("seat", where, seat), ("person", where, who)}
        if not released and keys & taken:
            continue
        taken |= set() if released else keys
        session.add(
            Contact(contract_id=rows[where].id, user_id=persons[who].id, seat=seat, named_at=now, released_at=now if released else None)
        )
    session.flush()
    return persons, products
