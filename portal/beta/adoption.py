"""Who was told of a release, who took it, and who answered: by organisation and person.

The vendor's own people are left out. A release has at most a few thousand testers, so they are read whole, in the same number of
statements however many they are; pages show some organisations at a time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from portal.account.models import Organization, Role, User
from portal.database import db
from portal.notices.models import Delivery, DeliveryState, Notice
from portal.releases.announcements import published_key
from portal.releases.models import Build, Download, Release

# Given a release: by user id, how many pieces of feedback each person wrote about it.
Answers = Callable[[int], Mapping[int, int]]

_answers: list[Answers] = []


def on_answers(provider: Answers) -> None:
    """Register who knows what people wrote about a release."""
    _answers[:] = [provider]


@dataclass(frozen=True)
class Taken:
    """One download. `share` is how much of the file was sent, or granted where that is all we know: 0 to 1."""

    filename: str
    started_at: datetime
    completed_at: datetime | None
    share: float


@dataclass(frozen=True)
class Tester:
    """A person: what became of the notice to them (None: there was none), what they took, how often they wrote."""

    user_id: int
    name: str
    email: str
    told: DeliveryState | None
    told_at: datetime | None
    downloads: tuple[Taken, ...] = ()
    answers: int = 0

    @property
    def was_told(self) -> bool:
        return self.told is DeliveryState.SENT

    @property
    def completed(self) -> bool:
        return any(one.completed_at is not None for one in self.downloads)


@dataclass(frozen=True)
class Group:
    """An organisation with its testers. Those without one are a group too, with the id 0 and no name."""

    organization_id: int
    name: str
    testers: list[Tester] = field(default_factory=list)

    @property
    def was_told(self) -> bool:
        return any(one.was_told for one in self.testers)

    @property
    def tried(self) -> bool:
        return any(one.downloads for one in self.testers)

    @property
    def answers(self) -> int:
        return sum(one.answers for one in self.testers)


@dataclass(frozen=True)
class Numbers:
    """How many told, downloaded, downloaded to the last byte (as far as known), and answered."""

    told: int
    tried: int
    completed: int
    answered: int


@dataclass(frozen=True)
class Adoption:
    """How a release is taken up. Groups are in the order of their names."""

    groups: list[Group]

    @property
    def testers(self) -> list[Tester]:
        return [one for group in self.groups for one in group.testers]

    @property
    def people(self) -> Numbers:
        people = self.testers
        return Numbers(
            sum(one.was_told for one in people),
            sum(bool(one.downloads) for one in people),
            sum(one.completed for one in people),
            sum(one.answers > 0 for one in people),
        )

    @property
    def organizations(self) -> Numbers:
        groups = [group for group in self.groups if group.organization_id]
        return Numbers(
            sum(group.was_told for group in groups),
            sum(group.tried for group in groups),
            sum(any(one.completed for one in group.testers) for group in groups),
            sum(group.answers > 0 for group in groups),
        )

    def first_downloads(self) -> list[datetime]:
        """When each person who downloaded it began to, in order."""
        return sorted(min(one.started_at for one in tester.downloads) for tester in self.testers if tester.downloads)

    def page(self, after: str, limit: int) -> tuple[list[Group], str | None]:
        """Return at most `limit` groups whose names come after `after`, and the name of the last one if there are more."""
        rest = [group for group in self.groups if group.name > after] if after else self.groups
        return rest[:limit], rest[limit - 1].name if len(rest) > limit else None


def adoption_of(release: Release) -> Adoption:
    """Read how a release is taken up: four statements, and those of whoever knows the answers."""
    notice_id = db.session.scalar(sa.select(Notice.id).where(Notice.key == published_key(release.id)))
    answers = _answers[0](release.id) if _answers else {}
    downloads = _downloads(release.id)
    groups: dict[int, Group] = {}
    for row in db.session.execute(_people(release.id, notice_id, answers)):
        organization_id = row.organization_id or 0
        group = groups.setdefault(organization_id, Group(organization_id, row.organization or ""))
        taken = tuple(downloads.get(row.id, ()))
        group.testers.append(Tester(row.id, row.name, row.email, row.state, row.settled_at, taken, answers.get(row.id, 0)))
    return Adoption(sorted(groups.values(), key=lambda group: group.name))


def _people(
    release_id: int, notice_id: int | None, answered: Iterable[int]
) -> sa.Select[int, str, str, int | None, str, DeliveryState, datetime | None]:
    """Everybody who was mailed, downloaded or answered, but for staff, with their organisation and delivery."""
    took = sa.select(Download.user_id).join(Build, Build.id == Download.build_id).where(Build.release_id == release_id)
    organization = Organization.name.label("organization")
    return (
        sa.select(User.id, User.name, User.email, User.organization_id, organization, Delivery.state, Delivery.settled_at)
        .outerjoin(Organization, Organization.id == User.organization_id)
        .outerjoin(Delivery, sa.and_(Delivery.user_id == User.id, Delivery.notice_id == notice_id))
        .where(
            sa.or_(Delivery.id.is_not(None), User.id.in_(took.where(Download.user_id.is_not(None))), User.id.in_(list(answered))),
            ~User.roles.any(Role.id.is_not(None)),
        )
        .order_by(User.name, User.email)
    )


def _downloads(release_id: int) -> Mapping[int, list[Taken]]:
    found: dict[int, list[Taken]] = defaultdict(list)
    rows = db.session.execute(
        sa.select(
            Download.user_id, Build.filename, Build.size, Download.started_at, Download.completed_at, Download.ranges, Download.sent
        )
        .join(Build, Build.id == Download.build_id)
        .where(Build.release_id == release_id, Download.user_id.is_not(None))
        .order_by(Download.started_at, Download.id)
    )  # fmt: skip
    for user_id, filename, size, started_at, completed_at, ranges, sent in rows:
        share = 1.0 if completed_at else sum(last - first + 1 for first, last in sent or ranges) / max(size, 1)
        found[user_id or 0].append(Taken(filename, started_at, completed_at, min(share, 1.0)))
    return found
