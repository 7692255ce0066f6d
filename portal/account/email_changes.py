"""Another address for a person: asked for signed in, confirmed by a link at the old address and one at the new.

Nothing changes before both have confirmed it, unless the old mailbox is gone and staff correct it. The answer to asking is the same
whoever the new address belongs to: if somebody has an account under it, its owner is told by mail instead of getting a link.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from portal import audit, tokens
from portal.account import opt_in, people, security_mail, sessions
from portal.account.models import Contact, User
from portal.account.security_models import EmailChange
from portal.config import current_settings
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.notices import outbox, suppression
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.text import clean_line
from portal.web.formatting import exact_time

LASTS = timedelta(hours=24)
MOST_PER_DAY = 5
# How long it is kept who asked for which address, once that is over.
KEPT = timedelta(days=30)
PATH = "/account/email/confirm"
OLD, NEW, TAKEN = "email_change_old", "email_change_new", "email_change_taken"


class State(enum.Enum):
    """How a link of a change stands."""

    OPEN = enum.auto()
    WAITING = enum.auto()  # this side has confirmed, the other one has not
    DONE = enum.auto()
    CANCELLED = enum.auto()
    EXPIRED = enum.auto()


@dataclass(frozen=True)
class Asked:
    """A change as its links show it; `old_side` says which of the two this one is."""

    change: EmailChange
    old_side: bool
    state: State


def ask(person: User, address: str, *, now: datetime) -> EmailChange:
    """Mail both addresses a link; a change that was asked for before counts no more.

    Raises Invalid for a bad address or the one the person has, Conflict for more than MOST_PER_DAY.
    """
    new = people.normalize_email(address)
    if new == person.email:
        raise Invalid(f"{new} is your address already.", "email")
    _lock(person.id)
    asked = sa.select(sa.func.count()).where(EmailChange.user_id == person.id, EmailChange.created_at > now - timedelta(days=1))
    if (db.session.scalar(asked) or 0) >= MOST_PER_DAY:
        raise Conflict(f"You have asked for {MOST_PER_DAY} changes within a day. Wait until tomorrow, or write to us.")
    _close_open(person.id, "replaced", now=now)
    nonce = tokens.make_token()
    change = EmailChange(
        user_id=person.id,
        old_email=person.email,
        new_email=new,
        nonce=nonce,
        old_token_hash=tokens.hash_token(_token(OLD, nonce)),
        new_token_hash=tokens.hash_token(_token(NEW, nonce)),
        created_at=now,
        expires_at=now + LASTS,
    )
    db.session.add(change)
    db.session.flush()
    context = {"change_id": change.id}
    outbox.enqueue(OLD, _audience(User.id == person.id), context=context, now=now)
    owner = db.session.scalar(sa.select(User.id).where(User.email == new, User.provisional.is_(False)))
    if owner is None:
        outbox.enqueue(NEW, _audience(User.id == person.id, new), context=context, now=now)
    else:
        outbox.enqueue(TAKEN, _audience(sa.and_(User.id == owner, User.active.is_(True))), context={}, now=now)
    audit.record("email.change_asked", subject_type="user", subject_id=person.id, actor=person, now=now, change=change.id)
    return change


def _audience(who: sa.ColumnElement[bool], address: str | None = None) -> outbox.Audience:
    written_to = sa.literal(address, User.email.type) if address else User.email
    return sa.select(User.id, written_to.label("email"), User.name).where(who)


def pending(person: User, now: datetime) -> EmailChange | None:
    """Return the change of this person that waits to be confirmed."""
    return db.session.scalar(
        sa.select(EmailChange).where(EmailChange.user_id == person.id, EmailChange.closed_at.is_(None), EmailChange.expires_at > now)
    )


def cancel(person: User, *, now: datetime) -> None:
    """Give up the change that waits. Raises Conflict if there is none (any more)."""
    if not cancel_open(person.id, now=now):
        raise Conflict("No change of address waits any more. Reload the page to see how it ended.")


def cancel_open(user_id: int, *, now: datetime) -> bool:
    """Make the links of a person's change worthless, if one is open: by its owner, or with a new password. Says whether one was."""
    _lock(user_id)
    closed = _close_open(user_id, "cancelled", now=now)
    if closed:
        person = db.session.get_one(User, user_id)
        audit.record("email.change_cancelled", subject_type="user", subject_id=user_id, actor=person, now=now)
    return closed


def _close_open(user_id: int, outcome: str, *, now: datetime) -> bool:
    closed = db.session.execute(
        sa.update(EmailChange)
        .where(EmailChange.user_id == user_id, EmailChange.closed_at.is_(None))
        .values(closed_at=now, outcome=outcome)
        .returning(EmailChange.id)
        .execution_options(synchronize_session=False)
    )
    return bool(closed.all())


def find(token: str, *, now: datetime) -> Asked:
    """Return the change of a link. Raises NotFound for a link that is none of ours."""
    hashed = tokens.hash_token(token)
    change = db.session.scalar(
        sa.select(EmailChange).where(sa.or_(EmailChange.old_token_hash == hashed, EmailChange.new_token_hash == hashed))
    )
    if change is None:
        raise NotFound("We do not know this link. Open the link of the newest mail, whole, or ask for the change again.")
    old_side = change.old_token_hash == hashed
    return Asked(change, old_side, _state(change, old_side, now))


def _find_locked(token: str, now: datetime) -> Asked:
    """Find a change, and hold its person: of all that happens to it at once - the other side, a cancellation, a new password - one comes
    after the other."""
    change = find(token, now=now).change
    _lock(change.user_id)
    db.session.refresh(change)
    return find(token, now=now)


def _lock(user_id: int) -> None:
    """Hold a person until the transaction ends, read afresh. It comes before anything of a change is written, or two could wait for
    each other."""
    db.session.execute(sa.select(User).where(User.id == user_id).with_for_update(of=User).execution_options(populate_existing=True))


def _state(change: EmailChange, old_side: bool, now: datetime) -> State:
    if change.closed_at is not None:
        return State.DONE if change.outcome == "done" else State.CANCELLED
    if change.expires_at <= now or not change.user.active:
        return State.EXPIRED
    confirmed_at = change.old_confirmed_at if old_side else change.new_confirmed_at
    return State.OPEN if confirmed_at is None else State.WAITING


def confirm(token: str, *, now: datetime) -> Asked:
    """Confirm a change for the side this link was mailed to; the second side makes it so. Returns how it stands then.

    Raises NotFound for a link that is none of ours, Conflict if the new address is somebody else's by now.
    """
    asked = _find_locked(token, now)
    if asked.state is not State.OPEN:
        return asked
    change, user_id = asked.change, asked.change.user_id
    if asked.old_side:
        change.old_confirmed_at = now
    else:
        change.new_confirmed_at = now
    audit.record(
        "email.change_confirmed", subject_type="user", subject_id=user_id, actor=change.user, now=now,
        change=change.id, at="old address" if asked.old_side else "new address",
    )  # fmt: skip
    if change.old_confirmed_at is not None and change.new_confirmed_at is not None:
        _carry_out(change, now=now)
    db.session.flush()
    return Asked(change, asked.old_side, _state(change, asked.old_side, now))


def refuse(token: str, *, now: datetime) -> None:
    """Cancel a change by one of its links. Raises NotFound for a link that is none of ours, Conflict if it is over."""
    asked = _find_locked(token, now)
    if asked.state not in {State.OPEN, State.WAITING}:
        raise Conflict("This change of address is over already.")
    cancel_open(asked.change.user_id, now=now)


def _carry_out(change: EmailChange, *, now: datetime) -> None:
    """Give the person the address. Mail that waits follows, everybody is signed out, and both addresses are told."""
    person = change.user
    opt_in.make_way(change.new_email)
    people.change_address(person, change.new_email, confirmed=True)
    suppression.lift(change.new_email, now=now)
    change.closed_at, change.outcome = now, "done"
    what = f"The address of your account was changed from {change.old_email} to {change.new_email}."
    _make_known(person, change.old_email, what, actor=person, now=now)


def find_correctable(person_id: int) -> User:
    """Return a customer whose address staff may correct. Raises NotFound for anybody else: whoever changed the address of a member of staff
    could have a new password mailed, and become them."""
    person = people.find_active(person_id)
    if person is None or person.provisional or person.is_staff:
        raise NotFound("There is no such customer.")
    return person


def correct(person_id: int, address: str, reason: str, *, actor: User, now: datetime) -> User:
    """Give a customer another address on the vendor's word, for one whose old mailbox is gone. Password and second factors stay; all
    sessions and links end, and both addresses are told.

    Raises NotFound as `find_correctable` does, Invalid (fields `email`, `reason`) for an address that is bad, theirs or somebody else's and
    for no reason, Conflict for somebody whose invitation waits.
    """
    people.hold(find_correctable(person_id))
    person = find_correctable(person_id)
    reason, new, before = clean_line(reason, "reason", 200), people.normalize_email(address), person.email
    if new == before:
        raise Invalid(f"The address is {new} already.", "email")
    invited = sa.exists().where(Contact.user_id == person.id, Contact.released_at.is_(None))
    if person.password is None and db.session.scalar(sa.select(invited)):
        raise Conflict("They have not accepted their invitation yet. Correct the address on the contract's page, which invites them anew.")
    opt_in.make_way(new)
    if people.find_person(new) is not None:
        raise Invalid(f"{new} is the address of somebody else.", "email")
    _close_open(person.id, "replaced", now=now)
    people.change_address(person, new)
    suppression.recall(new, now=now)
    _make_known(
        person, before, f"The vendor changed the address of your account from {before} to {new}.", actor=actor, now=now, reason=reason
    )
    return person


def _make_known(person: User, before: str, what: str, *, actor: User, now: datetime, **details: str) -> None:
    """Sign somebody out everywhere whose address has just changed, tell both addresses, and note it."""
    sessions.end_all(person, now=now)
    for address in (before, person.email):
        security_mail.tell(person.id, "Your email address was changed", what, now=now, address=address)
    audit.record(
        "email.changed", subject_type="user", subject_id=person.id, actor=actor, now=now, before=before, after=person.email, **details
    )


def sweep(now: datetime) -> int:
    """Forget changes that are over for long, with the addresses in them; return how many."""
    over = sa.func.coalesce(EmailChange.closed_at, EmailChange.expires_at, type_=EmailChange.expires_at.type)
    gone = db.session.execute(
        sa.delete(EmailChange).where(over <= now - KEPT).returning(EmailChange.id).execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _token(purpose: str, nonce: str) -> str:
    return tokens.derive_token(current_settings().secret_key, purpose, nonce)


def _change_of(notice: Notice) -> EmailChange | None:
    return db.session.get(EmailChange, notice.context.get("change_id"))


def _still_open(notice: Notice, deliveries: Sequence[Due], now: datetime) -> Mapping[int, str]:
    """Send each link to the address it is to prove, and to no other that the person may have had since; none that leads nowhere."""
    change = _change_of(notice)
    if change is None or change.closed_at is not None or change.expires_at <= now:
        return {delivery.id: "change of address not open" for delivery in deliveries}
    proved = change.old_email if notice.kind == OLD else change.new_email
    return {delivery.id: "meant for another address" for delivery in deliveries if delivery.address != proved}


def _personal(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """The link, derived at this second from the secret key: the outbox and the database never hold it."""
    settings, change = current_settings(), _change_of(notice)
    assert change is not None, "the check let it pass"
    zone = change.user.time_zone or settings.default_time_zone
    return {
        "confirm_url": f"{settings.base_url}{PATH}/{_token(notice.kind, change.nonce)}",
        "old_email": change.old_email,
        "new_email": change.new_email,
        "expires": exact_time(change.expires_at, zone),
    }


def _taken(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    base = current_settings().base_url
    return {"address": delivery.address, "forgot_url": f"{base}{security_mail.RESET_PATH}"}


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(OLD, label="Change of address, to the old one", check=_still_open, personal=_personal))
    register(Kind(NEW, label="Change of address, to the new one", check=_still_open, personal=_personal, reaches_suppressed=True))
    register(Kind(TAKEN, label="Told that somebody asked for their address", personal=_taken))
