"""The fixed cast of the tests.

alice and bob: the two contacts of NW-2041 (Macro Studio). carol: the contact of NW-2042, another organisation.
dave: the contact of a lapsed contract. erin: a customer without contract. frank: a contact for another product.
One member of staff per role: paula (publisher), petra (product), anton (accounts), sue (support), ada (admin).
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache

from flask_security.utils import hash_password

from portal.account import contacts, contracts, people
from portal.account.models import Role, User
from portal.database import db, transaction
from portal.products.models import Product

PASSWORD = "correct horse battery staple"
STAFF = {"paula": "publisher", "petra": "product", "anton": "accounts", "sue": "support", "ada": "admin"}


@dataclass(frozen=True)
class Cast:
    """Addresses and ids that tests start from."""

    product: str = "macro-studio"
    other_product: str = "form-filler"
    contract: str = "NW-2041"
    other_contract: str = "NW-2042"
    lapsed_contract: str = "NW-1999"
    alice: str = "alice@logistics.example.org"
    bob: str = "bob@logistics.example.org"
    carol: str = "carol@foods.example.org"
    dave: str = "dave@mill.example.org"
    erin: str = "erin@press.example.org"
    frank: str = "frank@clinic.example.org"
    paula: str = "paula@vendor.example.org"
    petra: str = "petra@vendor.example.org"
    anton: str = "anton@vendor.example.org"
    sue: str = "sue@vendor.example.org"
    ada: str = "ada@vendor.example.org"


def assemble(now: datetime) -> Cast:
    """Put the cast into the database, through the same functions that staff use."""
    cast = Cast()
    password = hashed(PASSWORD)
    today = now.date()
    with transaction() as session:
        studio = Product(slug=cast.product, name="Macro Studio", created_at=now)
        filler = Product(slug=cast.other_product, name="Form Filler", created_at=now)
        session.add_all([studio, filler])
        for number, organization, product, started, seats in (
            (cast.contract, "Example Logistics", studio, today - timedelta(days=60), [cast.alice, cast.bob]),
            (cast.other_contract, "Example Foods", studio, today - timedelta(days=30), [cast.carol]),
            (cast.lapsed_contract, "Example Mill", studio, today - timedelta(days=500), [cast.dave]),
            ("NW-3001", "Example Clinic", filler, today - timedelta(days=10), [cast.frank]),
        ):
            _sell(number, organization, product, started, seats, now)
        press = contracts.create_organization("Example Press", actor=None, now=now)
        people.find_or_add_person(cast.erin, "Erin Example", press, now=now)
        for name, role in STAFF.items():
            person = people.find_or_add_person(f"{name}@vendor.example.org", f"{name.capitalize()} Example", None, now=now)
            person.roles.append(Role(name=role))
        for person in session.query(User):
            person.password = password
    db.session.remove()
    return cast


@cache
def hashed(password: str) -> str:
    """Return a password's hash. Made once: it is meant to be slow."""
    return hash_password(password)


def _sell(number: str, organization: str, product: Product, started: date, seats: list[str], now: datetime) -> None:
    buyer = contracts.create_organization(organization, actor=None, now=now)
    contract = contracts.create_contract(number, buyer, product, started, time_zone="Europe/Berlin", actor=None, now=now)
    for email in seats:
        name = f"{email.partition('@')[0].capitalize()} Example"
        contacts.name_contact(contract, name=name, email=email, actor=None, now=now, invite=False)
