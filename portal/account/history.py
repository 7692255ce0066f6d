"""What happened to a contract, in words, from the audit log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from portal.account.models import Contract, User
from portal.audit import AuditEvent
from portal.database import db
from portal.web.formatting import long_date, money

MOST = 100


@dataclass(frozen=True)
class Happening:
    """One event: what happened (`fact`), who did it if the reader may know, when, and how to draw it."""

    fact: str
    by: str | None
    at: datetime
    icon: str
    colour: str = ""


def _day(iso: str) -> str:
    return long_date(date.fromisoformat(iso))


# Action of the audit log: icon, colour, and the sentence made of the person concerned and the event's details.
_SENTENCES: dict[str, tuple[str, str, Callable[[str, Mapping[str, Any]], str]]] = {
    "contract.created": ("receipt", "c-green", lambda who, d: f"The contract was made, until {_day(d['ends_on'])}"),
    "contract.renewed": ("check-circle-fill", "c-green", lambda who, d: f"The contract was renewed until {_day(d['ends_on'])}"),
    "contract.renewal_asked": ("envelope", "", lambda who, d: f"Renewal was asked for, after {_day(d['ends_on'])}"),
    "contract.changed": (
        "clock",
        "",
        lambda who, d: f"Region and time zone were changed to {d['after']['region'] or 'no region'}, {d['after']['time_zone']}",
    ),
    "contract.suspended": ("pause-circle", "", lambda who, d: "The contract was suspended"),
    "contract.resumed": ("play-circle", "c-green", lambda who, d: "The contract was resumed"),
    "contract.cancelled": ("x-circle", "", lambda who, d: "The contract was cancelled"),
    "contact.named": ("person-plus", "", lambda who, d: f"{who} was named to seat {d['seat']}"),
    "contact.released": ("person-dash", "", lambda who, d: f"{who} was released from seat {d['seat']}"),
    "contact.invited": ("envelope", "", lambda who, d: f"{who} was invited"),
    "contact.invitation_revoked": ("slash-circle", "", lambda who, d: f"The invitation of {who} was withdrawn"),
    "contact.accepted": ("check-circle", "c-green", lambda who, d: f"{who} accepted the invitation"),
    "contact.address_corrected": ("pencil", "", lambda who, d: f"The address of {who} was corrected"),
}


# What only staff read: prices are between the vendor and whoever orders.
_FOR_STAFF: dict[str, tuple[str, str, Callable[[str, Mapping[str, Any]], str]]] = {
    "contract.order_changed": (
        "receipt", "", lambda who, d: f"The order of the term from {_day(d['starts_on'])} was changed from {_order(d['before'])} "
        f"to {_order(d['after'])}",
    ),
}  # fmt: skip


def _order(written: Mapping[str, Any]) -> str:
    price = money(written["price_cents"], written["currency"])
    return f"{price} ({written['reference']})" if written["reference"] else price


def of_contract(contract: Contract, *, for_staff: bool, most: int | None = MOST) -> list[Happening]:
    """Return what happened to `contract`, the newest first: the last `most` events, or all with None.

    A customer reads the names of its own people; whoever acts for the vendor is "us".
    """
    events = db.session.scalars(
        sa.select(AuditEvent)
        .where(
            AuditEvent.subject_type == "contract",
            AuditEvent.subject_id == contract.id,
            AuditEvent.action.in_([*_SENTENCES, *(_FOR_STAFF if for_staff else ())]),
        )
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(most)
    ).all()
    concerned = {event.details["user_id"] for event in events if "user_id" in event.details}
    people = _people({*concerned, *(event.actor_id for event in events if event.actor_id is not None)})
    return [_happening(event, people, contract, for_staff) for event in events]


def _people(ids: set[int]) -> dict[int, User]:
    return {person.id: person for person in db.session.scalars(sa.select(User).where(User.id.in_(ids)))} if ids else {}


def _happening(event: AuditEvent, people: Mapping[int, User], contract: Contract, for_staff: bool) -> Happening:
    icon, colour, sentence = (_SENTENCES | _FOR_STAFF)[event.action]
    person = people.get(event.details.get("user_id", 0))
    actor = people.get(event.actor_id or 0)
    if actor is not None and actor is person:
        by = None
    elif for_staff:
        by = event.actor if actor is not None else None
    else:
        by = actor.label if actor is not None and actor.organization_id == contract.organization_id else "us"
    return Happening(sentence(person.label if person else "Somebody", event.details), by, event.at, icon, colour)
