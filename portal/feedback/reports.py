"""The product team's numbers: what comes in, how long it waits, what is open, what is worth most, and what testers say.

Each report is a table; its plot is drawn from the same rows. Weeks begin on Monday and months on the first, on the calendar of
DEFAULT_TIME_ZONE. Everything is counted by the database or read in a constant number of statements.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median, quantiles
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import joinedload

from portal.clock import civil_date
from portal.database import db
from portal.feedback import groups, tallies
from portal.feedback.loop_models import Answer, Link, Verdict
from portal.feedback.models import Comment, Item, ItemKind, Status, StatusChange
from portal.products.models import Product
from portal.releases.models import Channel, Release, ReleaseState

WEEKS = 26
MOST_RELEASES = 20
MOST_BETAS = 12
TOP = 20
OPEN = (Status.UNDER_REVIEW, Status.PLANNED, Status.IN_BETA)
# Days since it was asked, up to and without the next.
AGES = (("under a week", 0), ("1 to 4 weeks", 7), ("1 to 3 months", 28), ("3 to 12 months", 91), ("over a year", 365))

Cell = str | int
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Table:
    """A report: its columns and rows. `totals` stands for the whole, where there is one."""

    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]

    def column(self, name: str) -> list[int]:
        """The numbers of a column, for a plot."""
        place = self.columns.index(name)
        return [int(row[place] or 0) for row in self.rows]


@dataclass(frozen=True)
class Answered:
    """How long people waited for a first answer, in hours: the median, and within how many nine of ten had theirs. None: no answer yet."""

    table: Table
    asked: int
    answered: int
    median_hours: int | None
    most_hours: int | None


def weeks(now: datetime, zone: str, count: int = WEEKS) -> list[date]:
    """Return the Mondays of the last `count` weeks, this one included, oldest first."""
    today = civil_date(now, zone)
    this_week = today - timedelta(days=today.weekday())
    return [this_week - timedelta(weeks=back) for back in range(count - 1, -1, -1)]


def start_of(day: date, zone: str) -> datetime:
    """The instant at which a day begins in a zone."""
    return datetime.combine(day, time(), ZoneInfo(zone))


def _number_of_week(mondays: Sequence[date], zone: str) -> sa.ColumnElement[int]:
    """The place among `mondays` of the week in which an Item was asked."""
    ends = [(Item.created_at < start_of(monday, zone), number) for number, monday in enumerate(mondays[1:])]
    return sa.case(*ends, else_=len(mondays) - 1) if ends else sa.literal(0)


def _of_product(product: Product | None) -> sa.ColumnElement[bool]:
    return Item.product_id == product.id if product else sa.true()


def by_week(product: Product | None, now: datetime, zone: str) -> Table:
    """Items per week, by kind."""
    mondays = weeks(now, zone)
    number = _number_of_week(mondays, zone)
    rows = db.session.execute(
        sa.select(number, Item.kind, sa.func.count())
        .where(Item.created_at >= start_of(mondays[0], zone), _of_product(product))
        .group_by(number, Item.kind)
    )
    counts = {(place, kind): count for place, kind, count in rows}
    return Table(
        ("week", "ideas", "problems", "questions"),
        [(monday.isoformat(), *(counts.get((place, kind), 0) for kind in ItemKind)) for place, monday in enumerate(mondays)],
    )


def by_release(product: Product | None) -> Table:
    """Items per release: written about it, how many of them problems, and how many it brings. Releases without any are left out."""
    written = sa.select(Item.id).where(Item.release_id == Release.id).correlate(Release)
    problems = written.where(Item.kind == ItemKind.PROBLEM)
    brought = sa.select(Link.id).where(Link.release_id == Release.id, Link.removed_at.is_(None)).correlate(Release)
    counted = [one.with_only_columns(sa.func.count()).scalar_subquery() for one in (written, problems, brought)]
    rows = db.session.execute(
        sa.select(Product.name, Release.version, *counted)
        .join(Product, Product.id == Release.product_id)
        .where(
            Release.state.in_((ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN)),
            Release.product_id == product.id if product else sa.true(),
            sa.or_(written.exists(), brought.exists()),
        )
        .order_by(Release.published_at.desc(), Release.id.desc())
        .limit(MOST_RELEASES)
    )
    return Table(("product", "release", "written_about_it", "problems", "brought_by_it"), [tuple(row) for row in rows])


def first_answers(product: Product | None, now: datetime, zone: str) -> Answered:
    """Time to the first answer of what was asked in the last weeks: a status, a response, or a comment of the product team."""
    mondays = weeks(now, zone)
    number = _number_of_week(mondays, zone)
    moved = sa.select(sa.func.min(StatusChange.at)).where(StatusChange.item_id == Item.id).correlate(Item).scalar_subquery()
    said = (
        sa.select(sa.func.min(Comment.created_at))
        .where(Comment.item_id == Item.id, Comment.organization_id.is_(None), Comment.staff_only.is_(False))
        .correlate(Item)
        .scalar_subquery()
    )
    waits: dict[int, list[timedelta]] = {place: [] for place in range(len(mondays))}
    asked = dict.fromkeys(waits, 0)
    rows = db.session.execute(
        sa.select(number, Item.created_at, moved, said, Item.responded_at).where(
            Item.created_at >= start_of(mondays[0], zone), _of_product(product)
        )
    )
    for place, created_at, *answers in rows:
        asked[place] += 1
        given = [at for at in answers if at is not None]
        if given:
            waits[place].append(max(min(given) - created_at, timedelta()))
    whole = [wait for one in waits.values() for wait in one]
    table = Table(
        ("week", "asked", "answered", "median_hours"),
        [
            (monday.isoformat(), asked[place], len(waits[place]), _hours(waits[place]) if waits[place] else "")
            for place, monday in enumerate(mondays)
        ],
    )
    nine_of_ten = quantiles([wait / _HOUR for wait in whole], n=10, method="inclusive")[-1] if len(whole) > 1 else None
    return Answered(
        table, sum(asked.values()), len(whole), _hours(whole) if whole else None,
        round(nine_of_ten) if nine_of_ten is not None else _hours(whole) if whole else None,
    )  # fmt: skip


def _hours(waits: Sequence[timedelta]) -> int:
    return round(median(wait / _HOUR for wait in waits))


def open_by_age(product: Product | None, now: datetime) -> Table:
    """What is open, by how long ago it was asked and where it stands. What was merged is open with its target."""
    upper = [(Item.created_at > now - timedelta(days=days), place) for place, (_, days) in enumerate(AGES[1:])]
    age = sa.case(*upper, else_=len(AGES) - 1)
    rows = db.session.execute(
        sa.select(age, Item.status, sa.func.count())
        .where(Item.status.in_(OPEN), Item.merged_into_id.is_(None), _of_product(product))
        .group_by(age, Item.status)
    )
    counts = {(place, status): count for place, status, count in rows}
    return Table(
        ("age", *(status.value for status in OPEN), "all"),
        [
            (name, *(found := [counts.get((place, status), 0) for status in OPEN]), sum(found))
            for place, (name, _) in enumerate(AGES)
        ],
    )  # fmt: skip


def top_by_value(product: Product | None, now: datetime) -> Table:
    """What is open and worth most: the yearly price of the contracts that vote for it, a fact beside the number of votes."""
    sums = tallies.sums(now)
    value, contracts, ending = sums.cents.label("value"), sums.votes.label("contracts"), sums.ending.label("ending")
    rows = db.session.execute(
        sa.select(Item.id, Item.title, Item.status, contracts, value, ending)
        .where(Item.status.in_(OPEN), Item.merged_into_id.is_(None), sums.cents > 0, _of_product(product))
        .order_by(value.desc(), Item.id)
        .limit(TOP)
    )
    return Table(
        ("id", "title", "status", "contracts", f"{sums.currency.lower()}_a_year", "contracts_ending_in_90_days"),
        [(item_id, title, status.value, votes, cents // 100, soon) for item_id, title, status, votes, cents, soon in rows],
    )


def verdicts_by_beta(product: Product | None) -> Table:
    """What contracts say of each beta: one verdict of a contract on an item counts once, the latest."""
    betas = db.session.scalars(
        sa.select(Release)
        .where(
            Release.channel == Channel.BETA,
            Release.state.in_((ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN)),
            Release.product_id == product.id if product else sa.true(),
            sa.exists().where(Link.release_id == Release.id),
        )
        .options(joinedload(Release.product))
        .order_by(Release.published_at.desc(), Release.id.desc())
        .limit(MOST_BETAS)
    ).all()
    ids = [beta.id for beta in betas]
    links = db.session.execute(sa.select(Link.release_id, Link.item_id).where(Link.release_id.in_(ids), Link.removed_at.is_(None))).all()
    said_of = sa.select(Verdict.item_id).where(Verdict.release_id.in_(ids))
    concerned = sa.select(Link.item_id).where(Link.release_id.in_(ids), Link.removed_at.is_(None)).union(said_of).subquery()
    # What was merged is one with its target: on the beta's page, and so here.
    root = dict(db.session.execute(groups.roots(sa.select(concerned.c.item_id))).all())
    brought = Counter(release_id for release_id, _ in {(release_id, root[item_id]) for release_id, item_id in links})
    latest: dict[tuple[int, int, int], Answer] = {}
    for release_id, item_id, contract_id, answer in db.session.execute(
        sa.select(Verdict.release_id, Verdict.item_id, Verdict.contract_id, Verdict.answer)
        .where(Verdict.release_id.in_(ids))
        .order_by(Verdict.changed_at, Verdict.id)
    ):
        latest[release_id, root[item_id], contract_id] = answer
    return Table(
        ("product", "beta", "items", "yes", "partly", "no"),
        [
            (
                beta.product.name,
                beta.version,
                brought[beta.id],
                *(sum(given is answer for key, given in latest.items() if key[0] == beta.id) for answer in Answer),
            )
            for beta in betas
        ],
    )
