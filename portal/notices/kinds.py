"""Kinds of notices, and what is asked at the second of sending.

Features register their kinds when the app is built, so that this package knows no feature. A kind's templates lie in
`templates/notices/<name>/`: `subject.txt`, `body.txt`, `body.html`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.notices.models import Delivery, Notice

# Given a notice, some of its deliveries and the time: the deliveries not to send now, by id, each with the reason.
Check = Callable[[Notice, Sequence[Delivery], datetime], Mapping[int, str]]
# Given a notice: what its templates need, the same for everybody.
Shared = Callable[[Notice], Mapping[str, Any]]
# Given a notice, one delivery and the time: what the templates need for that person alone, such as a link made now.
Personal = Callable[[Notice, Delivery, datetime], Mapping[str, Any]]


def send_always(notice: Notice, deliveries: Sequence[Delivery], now: datetime) -> Mapping[int, str]:
    """The check of mail that always goes: security, contracts, invitations."""
    return {}


def context_only(notice: Notice) -> Mapping[str, Any]:
    """Templates that need no more than the notice's own context."""
    return {}


def nothing_personal(notice: Notice, delivery: Delivery, now: datetime) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of notice. Whether a person can switch it off is said by the notice's topic, not here.

    `check` runs in addition to the outbox's own (cancelled, switched off, suppressed). In a preview, notice and delivery have
    id 0 and stand in no database: `personal` must give harmless stand-ins then, never a link that works. `label` is what
    staff read; by default the name with spaces.
    """

    name: str
    label: str = ""
    check: Check = send_always
    shared: Shared = context_only
    personal: Personal = nothing_personal


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known. Registering the same name again replaces it, since each app built in a process registers all."""
    _kinds[kind.name] = kind


def find(name: str) -> Kind:
    """Return the kind called `name`. Raises KeyError for one nobody registered."""
    return _kinds[name]


def is_known(name: str) -> bool:
    return name in _kinds


def in_words(name: str) -> str:
    """What staff read for a kind, also for one that is no longer registered."""
    kind = _kinds.get(name)
    return (kind.label if kind else "") or name.replace("_", " ").replace("-", " ").capitalize()
