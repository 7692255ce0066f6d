"""Whom a notice concerns, who of them would be mailed, and why the others would not.

A circle is a set of people with the obstacles that keep some of them from being mailed. The select of those who are mailed,
the counts by reason and the list of people are all made of it, so that what staff read before sending is what is sent, and
the sum is always right.

Circles that staff can choose for an announcement have a name. Features register theirs when the app is built (`Audience`), so
that this package knows neither contracts nor downloads.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from portal.database import Base, db
from portal.notices import outbox
from portal.notices.models import Subscription, Suppression, Topic

Condition = sa.ColumnElement[bool]

ACCOUNT_CLOSED = "account closed"
SWITCHED_OFF = "switched these notices off"
SUPPRESSED = "address does not take our mail"
LEFT = "no longer one of the audience"


class Obstacle(NamedTuple):
    """What keeps a person from being mailed: `why`, in words, and the condition on `users`.

    Conditions are never NULL. They are asked from the person outward (EXISTS), so that a batch of a few people costs the same
    however many there are, and no database goes through a list of everybody for each of them.
    """

    why: sa.ColumnElement[str]
    stands: Condition


@dataclass(frozen=True)
class Circle:
    """The people something concerns, and what keeps some of them from being mailed, in the order tested.

    Of the `members` only those belong to it that meet each condition of `narrowed`. `says_it_all` is an obstacle's promise: whom
    it does not keep out is a member, so those who are mailed are found without asking for both.
    """

    members: Condition
    obstacles: Sequence[Obstacle]
    narrowed: Sequence[Condition] = ()
    says_it_all: bool = False

    def narrow(self, condition: Condition) -> "Circle":
        """Return the circle of those who also meet `condition`."""
        return replace(self, narrowed=(*self.narrowed, condition))


@dataclass(frozen=True)
class Person:
    """One person of a circle; `excluded` says why they are not mailed, None for those who are."""

    user_id: int
    email: str
    name: str
    organization: str | None
    excluded: str | None


@dataclass(frozen=True)
class Reach:
    """How many of a circle are mailed, and how many are not, by reason, the most frequent first."""

    reached: int
    excluded: Mapping[str, int]

    @property
    def left_out(self) -> int:
        return sum(self.excluded.values())

    @property
    def whole(self) -> int:
        return self.reached + self.left_out


def circle(members: Condition, *own: Obstacle, product_id: int, topic: Topic | None, says_it_all: bool = False) -> Circle:
    """Return the circle of `members` with the obstacles every notice knows around its `own`.

    Without a topic there is nothing to switch off. `says_it_all` as in Circle, of one of its `own`.
    """
    users = _users()
    closed = reason(ACCOUNT_CLOSED, users.c.active.is_(False))
    suppressed = reason(SUPPRESSED, sa.exists().where(Suppression.address == users.c.email).correlate(users))
    if topic is None:
        return Circle(members, [closed, *own, suppressed], says_it_all=says_it_all)
    off = reason(SWITCHED_OFF, sa.not_(_asked(product_id, topic, Subscription.wanted.is_(True))))
    return Circle(members, [closed, *own, off, suppressed], says_it_all=says_it_all)


def _asked(product_id: int, topic: Topic | None, *answer: Condition) -> Condition:
    """Whether somebody was ever asked about a topic, and gave this answer."""
    users = _users()
    asked = sa.exists().where(Subscription.user_id == users.c.id, Subscription.product_id == product_id, Subscription.topic == topic)
    return asked.where(*answer).correlate(users)


def reason(why: str, stands: Condition) -> Obstacle:
    """Return the obstacle that has one reason for everybody."""
    return Obstacle(words(why), stands)


def words(why: str) -> sa.ColumnElement[str]:
    """Return a reason as SQL, for obstacles that choose among several."""
    return sa.literal(why, sa.String)


def mailed(circle: Circle) -> outbox.Audience:
    """Select (user id, address, name) of everybody in the circle whom nothing keeps from being mailed, each once."""
    users = _users()
    belong = circle.narrowed if circle.says_it_all else (circle.members, *circle.narrowed)
    return sa.select(users.c.id, users.c.email, users.c.name).where(*belong, *(sa.not_(one.stands) for one in circle.obstacles))


def reach(circle: Circle) -> Reach:
    """Count who would be mailed and who would not, in one statement."""
    found = _members(circle).subquery()
    number = sa.func.count()
    rows = db.session.execute(sa.select(found.c.why, number).group_by(found.c.why).order_by(number.desc(), found.c.why)).all()
    counts: dict[str | None, int] = dict(rows)
    return Reach(counts.get(None, 0), {why: count for why, count in counts.items() if why is not None})


def people(circle: Circle, *, after: str = "", limit: int) -> list[Person]:
    """Return the people of the circle by address: at most `limit`, all after the address `after`."""
    email = _users().c.email
    return [Person(*row) for row in db.session.execute(_members(circle).where(email > after).order_by(email).limit(limit))]


def refusals(circle: Circle, user_ids: Iterable[int]) -> dict[int, str]:
    """Return those of `user_ids` who are not to be mailed, each with the reason: for the second of sending.

    Most are to be mailed, and need no reason: only for the others are obstacles gone through one by one.
    """
    asked, user_id = set(user_ids), _users().c.id
    refused = asked.difference(db.session.scalars(mailed(circle).with_only_columns(user_id).where(user_id.in_(asked))))
    if not refused:
        return {}
    found = _members(circle).where(user_id.in_(refused)).subquery()
    reasons: dict[int, str | None] = dict(db.session.execute(sa.select(found.c.id, found.c.why)).all())
    return {one: why for one in refused if (why := reasons.get(one, LEFT)) is not None}


def _members(circle: Circle) -> sa.Select[int, str, str, str | None, str | None]:
    users, organizations = _users(), Base.metadata.tables["organizations"]
    why = sa.case(*((one.stands, one.why) for one in circle.obstacles)).label("why")
    return (
        sa.select(users.c.id, users.c.email, users.c.name, organizations.c.name.label("organization"), why)
        .outerjoin(organizations, organizations.c.id == users.c.organization_id)
        .where(circle.members, *circle.narrowed)
    )


def _users() -> sa.Table:
    """The people. Their model lies on a higher floor; conditions that are written there meet this very table."""
    return Base.metadata.tables["users"]


# Given a product, a topic or None, and the time.
Chosen = Callable[[int, Topic | None, datetime], Circle]


@dataclass(frozen=True)
class Audience:
    """A circle that staff can choose by name.

    `label` says who they are and `meaning` the rest of it; `because` completes "You get this because …", with {product} and
    {topic} in it. A circle that is made of a choice `needs_topic`.
    """

    name: str
    label: str
    meaning: str
    because: str
    circle: Chosen
    needs_topic: bool = False


_audiences: dict[str, Audience] = {}


def register(audience: Audience) -> None:
    """Make an audience known. Registering the same name again replaces it, since each app built in a process registers all."""
    _audiences[audience.name] = audience


def find(name: str) -> Audience:
    """Return the audience called `name`. Raises KeyError for one nobody registered."""
    return _audiences[name]


def is_known(name: str) -> bool:
    return name in _audiences


def known() -> list[Audience]:
    """Return all audiences, in the order they were registered."""
    return list(_audiences.values())


def in_words(name: str) -> str:
    """What staff read for an audience, also for one that is no longer registered."""
    audience = _audiences.get(name)
    return audience.label if audience else name


def register_audiences() -> None:
    """Make this package's own audience known: those who chose a topic, or were asked and said no."""
    register(
        Audience(
            "subscribers",
            "Subscribers of the topic",
            "Everybody who switched the topic on, with or without a contract.",
            "you chose notices about {topic} of {product}",
            asked_about,
            needs_topic=True,
        )
    )


def asked_about(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    """Everybody who was ever asked about a topic; those who said no are kept out, with that reason."""
    return circle(_asked(product_id, topic), product_id=product_id, topic=topic)
