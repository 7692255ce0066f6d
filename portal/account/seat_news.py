"""Who is told when a seat changes hands: whoever lost it, the other contact, and the account managers.

All of it is mail that cannot be switched off: a seat that moved without its owner's doing must not go unnoticed.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from portal.account import people, renewals
from portal.account.models import Contact, User
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Kind, register
from portal.notices.models import Notice

RELEASED = "contact_released"
NAMED = "contact_named"
LEFT = "contact_left"
TO_STAFF = "seats_changed"


def tell(*, released: Contact | None, named: Contact | None, colleagues: list[Contact], actor: User | None, now: datetime) -> None:
    """Tell of one change: a seat was released, or given to somebody, or both at once.

    Whoever was named is told by the invitation. An account manager who did it themselves is not told.
    """
    about = named or released
    assert about is not None, "nothing changed"
    context = {
        "contact_id": about.id,
        "released_id": released.id if released else None,
        "by": _by(actor, about),
        "title": f"{about.user.label}, {about.contract.number}",
    }
    to_whom = sa.select(User.id, User.email, User.name)
    managers = people.account_managers()
    if actor is not None:
        managers = managers.where(User.id != actor.id)
    audiences = [(TO_STAFF, managers)]
    if released is not None:
        audiences.append((RELEASED, to_whom.where(User.id == released.user_id)))
    if colleagues:
        others = to_whom.where(User.id.in_([colleague.user_id for colleague in colleagues]))
        audiences.append((NAMED if named is not None else LEFT, others))
    for kind, audience in audiences:
        outbox.enqueue(kind, audience, context=context, now=now, created_by_id=actor.id if actor else None)


def _by(actor: User | None, about: Contact) -> str:
    """Who did it, as a customer may read it: their own people by name, the vendor as such."""
    return actor.label if actor is not None and actor.organization_id == about.contract.organization_id else ""


def _shared(notice: Notice) -> Mapping[str, Any]:
    contact = db.session.get_one(Contact, notice.context["contact_id"])
    contract = contact.contract
    released_id = notice.context.get("released_id")
    released = db.session.get(Contact, released_id) if released_id else None
    named = contact if contact is not released else None
    return {
        "contact_name": contact.user.label,
        "released": released.user.label if released else None,
        "released_address": released.user.email if released else None,
        "named": named.user.label if named else None,
        "named_address": named.user.email if named else None,
        "seat": contact.seat,
        "by": notice.context.get("by", ""),
        "contract_number": contract.number,
        "organization_name": contract.organization.name,
        "product_name": contract.product.name,
        "staff_path": renewals.staff_path(contract.number),
    }


def _staff_path(notice: Notice) -> str:
    return renewals.staff_path(db.session.get_one(Contact, notice.context["contact_id"]).contract.number)


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(RELEASED, label="Told that a seat was released", shared=_shared, staff_path=_staff_path))
    register(Kind(NAMED, label="Told of a new colleague", shared=_shared, staff_path=_staff_path))
    register(Kind(LEFT, label="Told that the other contact is gone", shared=_shared, staff_path=_staff_path))
    register(Kind(TO_STAFF, label="Seats of a contract changed, to staff", shared=_shared, staff_path=_staff_path))
