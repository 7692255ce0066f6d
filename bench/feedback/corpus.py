"""A portal with so many items and ten times as many votes: the same ones each time, on either database.

Four products of very different size; a contract for each twenty items, nine in ten of them in force; votes that crowd on a few
items; texts whose words are as unevenly common as words are (Zipf's law), most of them in few items and some in every other.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import flask_migrate
import sqlalchemy as sa
from flask import Flask
from flask_security.utils import hash_password

from portal import clock
from portal.account.models import Contact, Contract, Organization, Role, Term, User
from portal.database import db, transaction
from portal.feedback import search, tallies
from portal.feedback.models import Comment, Item, ItemKind, Severity, Status, Visibility, Vote
from portal.products.models import Product
from portal.releases.models import Channel, Kind, Release, ReleaseState

PASSWORD = "for a benchmark on one machine"
VOTES_PER_ITEM = 10
ITEMS_PER_CONTRACT = 20
PRODUCTS = (("macro-studio", 0.60), ("form-filler", 0.25), ("screen-ruler", 0.13), ("type-writer", 0.02))
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Europe/London", "UTC")
VOCABULARY = 20_000
SEED = 5
AT_ONCE = 2_000


@dataclass(frozen=True)
class Words:
    """Words of a search by how many items hold them: nine in ten, one in ten, a handful."""

    common: str
    medium: str
    rare: str


@dataclass(frozen=True)
class Corpus:
    """What is measured needs to know: who signs in, and what they look for."""

    subscriber: str
    lapsed: str
    staff: str
    words: Words
    titles: list[str]
    items: int
    votes: int


def make(app: Flask, items: int) -> Corpus:
    """Fill the empty database of `app`. The tallies are current afterwards, as the worker leaves them."""
    with app.app_context():
        flask_migrate.upgrade()
        dice = random.Random(SEED)
        vocabulary = _vocabulary(dice)
        now = clock.now()
        contracts = _contracts(dice, max(items // ITEMS_PER_CONTRACT, 40), now)
        products = _products(dice, items, always=0)
        titles = _items(dice, vocabulary, products, contracts, now)
        votes = _votes(dice, _by_product(products), contracts, now)
        with transaction():
            tallies.rebuild(now)
        db.session.remove()
        _let_the_database_rest()
        corpus = Corpus(
            "subscriber@example.org", "lapsed@example.org", "staff@example.org",
            Words(vocabulary[0], vocabulary[60], vocabulary[12_000]), titles[:: max(len(titles) // 50, 1)], items, votes,
        )  # fmt: skip
        db.session.remove()
    return corpus


def _vocabulary(dice: random.Random) -> list[str]:
    """Words that can be spoken, each once."""
    syllables = [
        consonant + vowel for consonant in "bcdfghklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ar", "en", "il", "or", "üs")
    ]
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(dice.choices(syllables, k=dice.choice((2, 2, 3, 3, 4))))] = None
    return list(words)


class _Writer:
    """Writes texts whose words are as common as the first in the vocabulary are, by Zipf's law."""

    def __init__(self, dice: random.Random, vocabulary: Sequence[str]) -> None:
        self._dice = dice
        self._vocabulary = vocabulary
        self._weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(vocabulary))))

    def write(self, words: int) -> str:
        return " ".join(self._dice.choices(self._vocabulary, cum_weights=self._weights, k=words)).capitalize()


def _products(dice: random.Random, count: int, always: int) -> dict[int, int]:
    """Give each number from 1 a product, by the products' shares; the first `always` of them the first one."""
    drawn = dice.choices(range(1, len(PRODUCTS) + 1), [share for _, share in PRODUCTS], k=count)
    return {number: 1 if number <= always else product_id for number, product_id in enumerate(drawn, start=1)}


def _by_product(products: dict[int, int]) -> dict[int, list[int]]:
    numbers: dict[int, list[int]] = {product_id: [] for product_id in range(1, len(PRODUCTS) + 1)}
    for number, product_id in products.items():
        numbers[product_id].append(number)
    return numbers


def _contracts(dice: random.Random, count: int, now: datetime) -> dict[int, list[int]]:
    """Sell contracts, one to an organisation with one person of the same number; return their numbers by product."""
    today = now.date()
    numbers = range(1, count + 1)
    products = _products(dice, count, always=2)

    def term(number: int) -> tuple[Any, Any]:
        lapsed = number == 2 or (number > 2 and dice.random() < 0.08)
        starts_on = today - timedelta(days=dice.randrange(380, 700) if lapsed else dice.randrange(0, 360))
        return starts_on, starts_on + timedelta(days=364)

    def person(number: int, email: str, organization_id: int | None) -> dict[str, Any]:
        return {
            "id": number, "email": email, "name": f"Person {number}", "fs_uniquifier": f"u{number}", "organization_id": organization_id,
            "created_at": now, "password": password if number in {1, 2, count + 1} else None,
        }  # fmt: skip

    password = hash_password(PASSWORD)
    addresses = {1: "subscriber@example.org", 2: "lapsed@example.org"}
    terms = {number: term(number) for number in numbers}
    with transaction() as session:
        session.add_all(Product(slug=slug, name=slug.replace("-", " ").title(), created_at=now) for slug, _ in PRODUCTS)
        session.flush()
        fill(Organization, ({"id": number, "name": f"Customer {number}", "created_at": now} for number in numbers))
        fill(User, (person(number, addresses.get(number, f"person{number}@example.org"), number) for number in numbers))
        fill(User, [person(count + 1, "staff@example.org", None)])
        fill(Contract, (
            {"id": number, "number": f"NW-{number}", "organization_id": number, "product_id": products[number],
             "time_zone": ZONES[number % len(ZONES)], "created_at": now,
             "suspended_at": now if number > 2 and number % 101 == 0 else None}
            for number in numbers
        ))  # fmt: skip
        fill(Term, (
            {"id": number, "contract_id": number, "starts_on": terms[number][0], "ends_on": terms[number][1],
             "price_cents": dice.choice((49_500, 49_500, 99_000, 240_000)), "currency": "USD", "created_at": now}
            for number in numbers
        ))  # fmt: skip
        fill(Contact, ({"id": number, "contract_id": number, "seat": 1, "user_id": number, "named_at": now} for number in numbers))
    with transaction() as session:
        session.get_one(User, count + 1).roles = [Role(name="product")]
        for product_id in range(1, len(PRODUCTS) + 1):
            session.add(Release(
                product_id=product_id, version="2.0b1", version_key="2.0b1", channel=Channel.BETA, kind=Kind.MINOR,
                state=ReleaseState.PUBLISHED, created_at=now, published_at=now,
            ))  # fmt: skip
    return _by_product(products)


def _items(
    dice: random.Random, vocabulary: Sequence[str], products: dict[int, int], contracts: dict[int, list[int]], now: datetime
) -> list[str]:  # fmt: skip
    """Write the items and a comment for each, and index them; return their titles."""
    count = len(products)
    writer = _Writer(dice, vocabulary)
    with transaction() as session:
        betas = dict(session.execute(sa.select(Release.product_id, Release.id)).all())

    def item(number: int) -> dict[str, Any]:
        product_id = products[number]
        contract_id = dice.choice(contracts[product_id])
        kind = dice.choices(list(ItemKind), (60, 30, 10))[0]
        rank = dice.randrange(1, 4) if kind is ItemKind.PROBLEM else 0
        created_at = now - timedelta(minutes=dice.randrange(1_500_000))
        answered = dice.random() < 0.4
        changed_at = created_at + (now - created_at) * dice.random() if answered else created_at
        status = dice.choices(list(Status), (30, 20, 5, 30, 15))[0] if answered else Status.UNDER_REVIEW
        return {
            "id": number, "product_id": product_id, "kind": kind, "contract_id": contract_id, "organization_id": contract_id,
            "release_id": betas[product_id] if dice.random() < 0.1 else None, "author_id": contract_id,
            "severity": list(Severity)[rank - 1] if rank else None, "severity_rank": rank,
            "visibility": Visibility.PRIVATE if dice.random() < 0.08 else Visibility.SUBSCRIBERS,
            "title": writer.write(dice.randrange(3, 10)), "body": writer.write(dice.randrange(15, 120)) + ".",
            "created_at": created_at, "changed_at": changed_at, "status": status,
            "response": writer.write(20) if answered else "", "responded_at": changed_at if answered else None,
            "read_at": None if number % 50 == 0 else now,
            "merged_into_id": number - 1 if number % 100 == 7 and products[number - 1] == product_id else None,
        }  # fmt: skip

    def comment(number: int) -> dict[str, Any]:
        item_id = 1 + int(count * dice.random() ** 2)
        person = 1 + dice.randrange(max(count // ITEMS_PER_CONTRACT, 40))
        return {
            "id": number,
            "item_id": item_id,
            "author_id": person,
            "organization_id": person,
            "body": writer.write(20),
            "created_at": now,
        }

    titles: list[str] = []
    for numbers in _batches(range(1, count + 1)):
        rows = [item(number) for number in numbers]
        titles += [row["title"] for row in rows]
        with transaction() as session:
            fill(Item, rows)
            search.index(session.connection(), [(row["id"], row["product_id"], row["title"], row["body"]) for row in rows])
    for numbers in _batches(range(1, count + 1)):
        with transaction():
            fill(Comment, [comment(number) for number in numbers])
    return titles


def _votes(dice: random.Random, items: dict[int, list[int]], contracts: dict[int, list[int]], now: datetime) -> int:
    """Let each contract vote for items of its product, most often for the first ones; return how many votes there are."""
    each = VOTES_PER_ITEM * sum(map(len, items.values())) // sum(map(len, contracts.values()))

    def votes() -> Iterator[dict[str, Any]]:
        number = itertools.count(1)
        for product_id, voters in contracts.items():
            there = items[product_id]
            for contract_id in voters:
                chosen: dict[int, None] = {}
                while len(chosen) < min(each, len(there) // 2):
                    chosen[there[int(len(there) * dice.random() ** 3)]] = None
                for item_id in chosen:
                    yield {"id": next(number), "item_id": item_id, "contract_id": contract_id, "user_id": contract_id, "created_at": now}

    made = 0
    for rows in _batches(votes(), 50_000):
        with transaction():
            made += fill(Vote, rows)
    return made


def _batches(rows: Iterable[Any], size: int = AT_ONCE) -> Iterator[list[Any]]:
    remaining = iter(rows)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def fill(model: type[Any], rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as fast as the database takes them: COPY, or one prepared statement. Defaults are the model's."""
    table = model.__table__
    columns = [column for column in table.columns if column.computed is None]
    connection = db.session.connection()
    processors: list[Callable[[Any], Any]] = [
        column.type.dialect_impl(connection.dialect).bind_processor(connection.dialect) or (lambda value: value) for column in columns
    ]
    defaults = [_default(column) for column in columns]
    lines = (
        tuple(process(row.get(column.name, default)) for column, process, default in zip(columns, processors, defaults, strict=True))
        for row in rows
    )
    names = ", ".join(column.name for column in columns)
    cursor: Any = connection.connection.cursor()
    made = 0
    if connection.dialect.name == "sqlite":
        cursor.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(columns))})", lines)
        return int(cursor.rowcount)
    with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for line in lines:
            copy.write_row(line)
            made += 1
    return made


def _default(column: sa.Column[Any]) -> Any:
    return column.default.arg if isinstance(column.default, sa.ColumnDefault) and column.default.is_scalar else None


def _let_the_database_rest() -> None:
    """Do what PostgreSQL's autovacuum does in time: sequences, statistics, the map of what all can see."""
    with db.engine.connect() as connection:
        if connection.dialect.name != "postgresql":
            return
        for model in (Organization, User, Contract, Term, Contact, Item, Comment, Vote):
            table = model.__tablename__
            connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"))
        connection.commit()
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
