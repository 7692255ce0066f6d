"""What several tests of feedback need: items, releases and voters, made as the portal makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal.account import people
from portal.account.models import Contract, User
from portal.audit import AuditEvent
from portal.database import db, transaction
from portal.feedback import merging, triage, votes, writing
from portal.feedback.access import Viewer, viewer_of
from portal.feedback.models import Item, ItemKind, Status, Visibility
from portal.products.models import Product
from portal.releases import versions
from portal.releases.models import Channel, Kind, Release, ReleaseState
from tests.conftest import NOW


def person(email: str) -> User:
    found = people.find_person(email)
    assert found is not None
    return found


def viewer(email: str, now: datetime = NOW) -> Viewer:
    return viewer_of(person(email), now)


def product(slug: str = "macro-studio") -> Product:
    return db.session.scalars(sa.select(Product).where(Product.slug == slug)).one()


def write(email: str, title: str = "Pause a macro", *, slug: str = "macro-studio", now: datetime = NOW, **changes: Any) -> int:
    """Write an item in a transaction of its own; return its id."""
    values: dict[str, Any] = {"kind": ItemKind.IDEA, "body": "Long reports lock up.", "visibility": Visibility.SUBSCRIBERS, **changes}
    with transaction():
        return writing.write(viewer(email, now), product=product(slug), title=title, now=now, **values).id


def vote(email: str, item_id: int, now: datetime = NOW) -> None:
    with transaction():
        votes.cast(viewer(email, now), item_id, now=now)


def comment(email: str, item_id: int, body: str, now: datetime = NOW) -> int:
    with transaction():
        return writing.comment(viewer(email, now), item_id, body, now=now).id


def answer(item_id: int, status: Status = Status.UNDER_REVIEW, *, by: str = "petra@vendor.example.org", **changes: Any) -> bool:
    """Answer an item as the product team, knowing its latest revision."""
    values: dict[str, Any] = {"now": NOW, **changes}
    with transaction():
        return triage.answer(item_id, revision=db.session.get_one(Item, item_id).revision, status=status, actor=person(by), **values)


def merge(item_id: int, target_id: int, revisions: tuple[int, int] | None = None) -> None:
    """Merge an item into another one as the product team, knowing the latest revisions of both."""
    with transaction():
        latest = {item.id: item.revision for item in db.session.scalars(sa.select(Item).where(Item.id.in_([item_id, target_id])))}
        known = (latest.get(item_id, 0), latest.get(target_id, 0))
        merging.merge(item_id, target_id, revisions=revisions or known, actor=person("petra@vendor.example.org"), now=NOW)


def unmerge(item_id: int) -> None:
    with transaction():
        merging.unmerge(item_id, actor=person("petra@vendor.example.org"), now=NOW)


def release(version: str, channel: Channel = Channel.BETA, state: ReleaseState = ReleaseState.PUBLISHED, slug: str = "macro-studio") -> int:
    """Add a release as it stands after publishing; return its id."""
    with transaction():
        added = Release(
            product_id=product(slug).id, version=version, version_key=versions.parse(version).key,
            channel=channel, kind=Kind.MINOR, state=state,
            created_at=NOW, published_at=NOW if state is ReleaseState.PUBLISHED else None,
        )  # fmt: skip
        db.session.add(added)
        db.session.flush()
        return added.id


def events(action: str) -> list[AuditEvent]:
    """What the audit log remembers of an act, oldest first."""
    return list(db.session.scalars(sa.select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)))


def contract(number: str) -> Contract:
    return db.session.scalars(sa.select(Contract).where(Contract.number == number)).one()


@contextmanager
def suspended(number: str) -> Iterator[None]:
    """A stretch of time in which a contract is suspended."""
    with transaction():
        contract(number).suspended_at = NOW
    yield
    with transaction():
        contract(number).suspended_at = None
