"""Mail about the safety of an account: links to choose a password, and word of what was changed. None of it can be switched off.

Links are made when the mail is sent: the outbox holds none.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from flask_security.recoverable import generate_reset_password_token

from portal.account.models import User
from portal.config import current_settings
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Delivery, Notice
from portal.web.formatting import exact_time

RESET_PATH = "/account/password/reset"
RESET_HOURS = 2
NOBODY = -1
RESET = "password_reset"
STAFF_INVITATION = "staff_invitation"
EVENT = "security_event"


def enqueue(kind: str, person_id: int, *, now: datetime) -> Notice:
    """Put a mail of this module's `kind` to one person into the outbox."""
    return outbox.enqueue(kind, _to(person_id), context={}, now=now)


def enqueue_reset(person_id: int | None, *, now: datetime) -> None:
    """Put a mail with a link to choose a password into the outbox. None stands for nobody, and costs the same statements."""
    notice = enqueue(RESET, NOBODY if person_id is None else person_id, now=now)
    read_by_somebody = sa.exists().where(Delivery.notice_id == Notice.id)
    outbox.run_update(sa.delete(Notice).where(Notice.id == notice.id, sa.not_(read_by_somebody)))
    db.session.expunge(notice)


def tell(person_id: int, title: str, what: str, *, now: datetime, address: str | None = None) -> Notice:
    """Tell a person what happened to their account: security mail, which always goes.

    `title` is the subject ("A passkey was added"), `what` a whole sentence without the time, which the mail adds in the reader's zone
    ("The passkey Phone was added to your account."). Neither may hold a secret. `address` is another one to write to than the person
    has now, such as the one they had before.
    """
    return outbox.enqueue(EVENT, _to(person_id, address), context={"title": title, "what": what}, now=now)


def resets_since(person_id: int, since: datetime) -> int:
    """Return how many mails with a link to choose a password one person was to get since then."""
    mails = sa.select(sa.func.count()).select_from(Delivery).join(Notice, Notice.id == Delivery.notice_id)
    return db.session.scalar(mails.where(Delivery.user_id == person_id, Notice.kind == RESET, Notice.created_at > since)) or 0


def _to(person_id: int, address: str | None = None) -> outbox.Audience:
    written_to = sa.literal(address, User.email.type) if address else User.email
    return sa.select(User.id, written_to.label("email"), User.name).where(User.id == person_id)


def _reset_link(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """The link that lets the reader choose a password, made at this second."""
    person = db.session.get_one(User, delivery.user_id)
    token = generate_reset_password_token(person)  # type: ignore[no-untyped-call]
    return {"reset_url": f"{current_settings().base_url}{RESET_PATH}/{token}"}


def _reset_shared(notice: Notice) -> Mapping[str, Any]:
    return {"reset_hours": RESET_HOURS}


def _about_change(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """When it happened, on the reader's clock, and where to reset the password and to see who is signed in."""
    person = db.session.get_one(User, delivery.user_id)
    settings = current_settings()
    zone = person.time_zone or settings.default_time_zone
    return {"changed": exact_time(notice.created_at, zone), "forgot_url": f"{settings.base_url}{RESET_PATH}"}


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(RESET, label="Password reset", shared=_reset_shared, personal=_reset_link))
    register(Kind(STAFF_INVITATION, label="Invitation of staff", shared=_reset_shared, personal=_reset_link))
    register(Kind(EVENT, label="Word of the account's safety", personal=_about_change))
