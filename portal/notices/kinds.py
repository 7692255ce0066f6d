"""Kinds of notices, and what is asked at the second of sending.

Features register their kinds when the app is built, so that this package knows no feature. A kind's templates lie in
`templates/notices/<name>/`: `subject.txt`, `body.txt`, `body.html`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from portal.notices.models import Notice


class Due(NamedTuple):
    """A delivery whose turn has come, as checks and rendering see it. In a preview its id is 0."""

    id: int
    user_id: int
    address: str
    name: str
    attempted_at: datetime


# Given a notice, some of its deliveries and the time: the deliveries not to send now, by id, each with the reason.
Check = Callable[[Notice, Sequence[Due], datetime], Mapping[int, str]]
# Given a notice: what its templates need, the same for everybody.
Shared = Callable[[Notice], Mapping[str, Any]]
# Given a notice, some of its deliveries and the time: by delivery id, the blocks of text that stand in that mail alone.
Slots = Callable[[Notice, Sequence[Due], datetime], Mapping[int, Mapping[str, Any]]]
# Given a notice, one delivery and the time: what the templates need for that person alone, such as a link made now.
Personal = Callable[[Notice, Due, datetime], Mapping[str, Any]]
# Given a notice: the path of the staff's page about what it tells of, where there is one.
StaffPath = Callable[[Notice], str | None]


def send_always(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """The check of mail that always goes: security, contracts, invitations."""
    return {}


def context_only(notice: Notice) -> Mapping[str, Any]:
    """Templates that need no more than the notice's own context."""
    return {}


def no_page(notice: Notice) -> str | None:
    return None


def no_slots(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, Mapping[str, Any]]:
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of notice. Whether a person can switch it off is said by the notice's topic, not here.

    Its text is rendered once and is the same for everybody, but for `slots`, asked once for many people. Mail that goes to one
    person has `personal` instead, and is rendered when it is sent: what it returns may be a secret, and is kept nowhere.
    `check` runs in addition to the outbox's own (cancelled, switched off, suppressed); mail that `reaches_suppressed` addresses
    is what such an address is confirmed with. In a preview, notice and delivery have id 0 and stand in no database: `slots` and
    `personal` must give harmless stand-ins then, never a link that works. `label` is what staff read; by default the name
    with spaces. A kind that is `to_many` tells an audience of one thing; all others are single mails, to one person or a few, and
    lists keep the two apart. `staff_path` leads them from the notice to what it is about, where a test can be sent and the text be changed.
    """

    name: str
    label: str = ""
    check: Check = send_always
    shared: Shared = context_only
    slots: Slots = no_slots
    personal: Personal | None = None
    reaches_suppressed: bool = False
    to_many: bool = False
    staff_path: StaffPath = no_page


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known. Registering the same name again replaces it, since each app built in a process registers all."""
    _kinds[kind.name] = kind


def find(name: str) -> Kind:
    """Return the kind called `name`. Raises KeyError for one nobody registered."""
    return _kinds[name]


def is_known(name: str) -> bool:
    return name in _kinds


def reaches_suppressed(name: str) -> bool:
    """Whether mail of a kind goes to suppressed addresses, too. Not that of a kind that is no longer registered."""
    return name in _kinds and _kinds[name].reaches_suppressed


def to_many() -> list[str]:
    """Return the names of the kinds that tell an audience of one thing."""
    return [kind.name for kind in _kinds.values() if kind.to_many]


def in_words(name: str) -> str:
    """What staff read for a kind, also for one that is no longer registered."""
    kind = _kinds.get(name)
    return (kind.label if kind else "") or name.replace("_", " ").replace("-", " ").capitalize()
