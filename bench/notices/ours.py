"""Our side, each command a process of its own: make a portal with so many contacts, announce a release to them, deliver.

The release is a point release, which only contacts of contracts in force hear of, so that the check at the second of sending is
the dearest there is: notice, account, topic, suppression, contract, term and seat.
"""

import argparse
from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice
from typing import Any

import flask_migrate
import sqlalchemy as sa

from bench.notices.measure import Stopwatch
from portal import clock
from portal.account.models import Contact, Contract, Organization, Term, User
from portal.app import create_app
from portal.config import current_settings, load
from portal.database import db, transaction
from portal.notices.delivery import deliver_due
from portal.notices.kinds import Due
from portal.notices.mime import Letter
from portal.notices.models import Delivery, DeliveryState, Notice, Subscription, Topic
from portal.notices.rendering import Renderer
from portal.products.models import Product
from portal.releases import announcements
from portal.releases.models import Channel, Kind, Release, ReleaseState

ROWS_AT_ONCE = 5_000
SENTENCE = "Recording a macro no longer drops the first key of a *shortcut* that was held for long. "


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare")
    prepare.add_argument("count", type=int)
    prepare.add_argument("size", type=int)
    for name in ("announce", "deliver", "bare"):
        commands.add_parser(name)
    given = parser.parse_args()
    app = create_app(load())
    with app.app_context():
        if given.command == "prepare":
            flask_migrate.upgrade()
            make_people(given.count)
            fit_notes(given.size)
            analyze()
        else:
            {"announce": announce, "deliver": deliver, "bare": insert_bare}[given.command]()
        db.session.remove()
        db.engine.dispose()


def make_people(people: int) -> None:
    """Make so many contacts, two to a contract, who all want to hear of point releases, and one point release that is out."""
    now = clock.now()
    today = now.date()
    pairs = range((people + 1) // 2)
    with transaction() as session:
        session.add(Product(id=1, slug="macro-studio", name="Macro Studio", created_at=now))
        session.flush()
        fill(Organization, ({"id": n + 1, "name": f"Customer {n}", "created_at": now} for n in pairs))
        fill(User, (
            {"id": n + 1, "email": f"person{n}@customer{n % 97}.example.org", "name": f"Person {n}", "active": True,
             "fs_uniquifier": f"u{n}", "organization_id": n // 2 + 1, "created_at": now, "failed_sign_ins": 0}
            for n in range(people)
        ))  # fmt: skip
        fill(Contract, (
            {"id": n + 1, "number": f"NW-{n}", "organization_id": n + 1, "product_id": 1, "time_zone": "Europe/Berlin", "created_at": now}
            for n in pairs
        ))  # fmt: skip
        fill(Term, (
            {"contract_id": n + 1, "starts_on": today - timedelta(days=n % 300), "ends_on": today + timedelta(days=30 + n % 300),
             "price_cents": 49_500, "currency": "USD", "created_at": now}
            for n in pairs
        ))  # fmt: skip
        fill(Contact, (
            {"contract_id": n // 2 + 1, "seat": n % 2 + 1, "user_id": n + 1, "named_at": now} for n in range(people)
        ))  # fmt: skip
        fill(Subscription, (
            {"user_id": n + 1, "product_id": 1, "topic": Topic.POINT, "wanted": True, "changed_at": now} for n in range(people)
        ))  # fmt: skip
        session.add(Release(
            id=1, product_id=1, version="15.2.1", version_key="15.2.1", channel=Channel.STABLE, kind=Kind.POINT,
            state=ReleaseState.PUBLISHED, summary="Fixes for long recordings", notes="* Faster", created_at=now, published_at=now,
        ))  # fmt: skip


def fill(model: type[Any], rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        db.session.execute(sa.insert(model), batch)


def fit_notes(size: int) -> None:
    """Give the release notes of such a length that the mail has `size` bytes, or a little less. Leaves no notice behind."""
    now = clock.now()
    low, high = 1, size
    while low < high:
        middle = (low + high + 1) // 2
        db.session.rollback()
        if bytes_of_mail(middle) <= size:
            low = middle
        else:
            high = middle - 1
    db.session.rollback()
    with transaction():
        release().notes = notes(low)
        release().edited_at = now


def bytes_of_mail(length: int) -> int:
    """Return how large the mail is with so many characters of notes. Changes nothing that lasts."""
    now = clock.now()
    release().notes = notes(length)
    notice = Notice(kind=announcements.PUBLISHED, topic=Topic.POINT, product_id=1, context={"release_id": 1}, created_at=now)
    db.session.add(notice)
    db.session.flush()
    person = Due(1, 1, "person1000@customer30.example.org", "Person 1000", now)
    [letter] = Renderer(notice, current_settings()).letters([person], now)
    assert isinstance(letter, Letter)
    return len(letter.message)


def notes(length: int) -> str:
    text = (SENTENCE * (length // len(SENTENCE) + 1))[:length]
    return "\n".join(f"* {line}" for line in text.split(". "))


def release() -> Release:
    return db.session.get_one(Release, 1)


def announce() -> None:
    """One enqueue for everybody, committed. Tells how long that took."""
    with Stopwatch() as watch, transaction():
        announcements.announce(release(), actor=None, now=clock.now())
    watch.tell(count_deliveries())


def insert_bare() -> None:
    """The same rows by a bare statement, into a table of the same shape, committed. Needs a portal that has announced."""
    table = db.metadata.tables[Delivery.__tablename__]
    bare = table.to_metadata(db.metadata, name="bare_deliveries")
    parts: list[sa.Index | sa.Constraint] = [*bare.indexes, *bare.constraints]
    for part in parts:
        if part.name is not None:  # PostgreSQL has one name space for the indexes of all tables
            part.name = sa.sql.quoted_name(f"bare_{part.name}", quote=None)
    bare.create(db.engine)
    columns = [column.name for column in table.columns]
    statement = sa.insert(bare).from_select(columns, sa.select(table))
    with Stopwatch() as watch, db.engine.begin() as connection:
        connection.execute(statement)
    with db.engine.connect() as connection:
        watch.tell(connection.scalar(sa.select(sa.func.count()).select_from(bare)) or 0)


def analyze() -> None:
    """Let the planner know how many rows there are: autovacuum would have, a minute after so many came in."""
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


def deliver() -> None:
    """Deliver everything that is due, the first mail before the clock starts: a worker has been running for long when a notice comes.

    Tells how many deliveries the database says are sent.
    """
    asked = count()
    deliver_due(stopping=lambda: next(asked) >= 2)  # asked before each batch and each mail
    before = count_deliveries(DeliveryState.SENT)
    with Stopwatch() as watch:
        deliver_due()
    watch.tell(count_deliveries(DeliveryState.SENT), before=before)


def count_deliveries(state: DeliveryState | None = None) -> int:
    query = sa.select(sa.func.count()).select_from(Delivery)
    return db.session.scalar(query if state is None else query.where(Delivery.state == state)) or 0


if __name__ == "__main__":
    main()
