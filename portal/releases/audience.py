"""Who is mailed about a release, who is not, and why."""

from datetime import datetime

import sqlalchemy as sa

from portal.account.circles import contacts
from portal.account.models import User
from portal.notices import audiences
from portal.notices.audiences import Audience, Circle, Person, Reach
from portal.notices.models import Topic
from portal.notices.outbox import Audience as Selected
from portal.releases.models import Build, Channel, Download, Kind, Release


def topic_of(release: Release) -> Topic:
    """Return the topic under which a release is announced."""
    return Topic.BETA if release.channel is Channel.BETA else Topic(release.kind.value)


def needs_contract(release: Release) -> bool:
    """Betas and point releases are for priority support alone; minor and major ones are announced to every customer."""
    return release.channel is Channel.BETA or release.kind is Kind.POINT


def circle(release: Release, now: datetime) -> Circle:
    """Whom a release concerns at all: those who hold a seat for its product, or were ever asked about its topic."""
    topic = topic_of(release)
    if needs_contract(release):
        return contacts(release.product_id, topic, now)
    return audiences.asked_about(release.product_id, topic, now)


def audience(release: Release, now: datetime) -> Selected:
    """Select (user id, address, name) of everybody who would be mailed about `release` at `now`, each once."""
    return audiences.mailed(circle(release, now))


def reach(release: Release, now: datetime) -> Reach:
    """Count who would be mailed at `now`, and who of the circle would not, by reason."""
    return audiences.reach(circle(release, now))


def people(release: Release, now: datetime, *, after: str = "", limit: int) -> list[Person]:
    """Return the people of the circle by address: at most `limit`, all after the address `after`."""
    return audiences.people(circle(release, now), after=after, limit=limit)


def register_audiences() -> None:
    """Make the audience known that downloads give."""
    audiences.register(
        Audience(
            "downloaders",
            "Everybody who downloaded a build",
            "Of whatever version of the product, betas included.",
            "you downloaded a build of {product}",
            _downloaders,
        )
    )


def _downloaders(product_id: int, topic: Topic | None, now: datetime) -> Circle:
    builds = sa.select(Build.id).join(Release, Release.id == Build.release_id).where(Release.product_id == product_id)
    took = sa.exists().where(Download.user_id == User.id, Download.build_id.in_(builds)).correlate(User)
    return audiences.circle(took, product_id=product_id, topic=topic)
