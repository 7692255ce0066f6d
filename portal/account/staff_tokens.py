"""Tokens by which programs act for a member of staff: a build server that uploads, a report that reads an export.

A token does what its scopes name, never more than its owner may at that moment, and ends by itself (OWASP ASVS 5.0, 10.4).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager

from portal import audit, tokens
from portal.account import last_use
from portal.account.models import StaffToken, User
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.text import clean_line

PREFIX = "portal_staff_"  # tells a token that was published by mistake from noise
MOST_PER_PERSON = 20
LIFETIMES = (7, 30, 90, 365)  # days
ADMIN = "admin"


@dataclass(frozen=True)
class Scope:
    """Something a program may do, in words, and the roles whose work it is; an admin may do all."""

    name: str
    label: str
    roles: frozenset[str]

    def is_open_to(self, person: User) -> bool:
        return bool((self.roles | {ADMIN}) & person.role_names)


SCOPES = {
    scope.name: scope
    for scope in (
        Scope("builds:write", "Upload builds to drafts", frozenset({"publisher"})),
        Scope("feedback:read", "Read all feedback", frozenset({"product"})),
        Scope("contracts:read", "Read all contracts and their contacts", frozenset({"accounts", "support"})),
        Scope("audit:read", "Read the audit log", frozenset()),
    )
}


def scopes_open_to(person: User) -> list[Scope]:
    """Return what a token of this person may be given."""
    return [scope for scope in SCOPES.values() if scope.is_open_to(person)]


def create(label: str, scopes: list[str], days: int, *, actor: User, now: datetime) -> str:
    """Make a token of the actor and return it: it is shown this once, and only its hash is stored.

    Raises Invalid for a bad label or lifetime, for no scope, and for one the actor's roles do not give; Conflict when the actor
    has too many tokens.
    """
    label = clean_line(label, "label", 80)
    if not scopes:
        raise Invalid("Choose what the token may do.", "scopes")
    mine = {scope.name for scope in scopes_open_to(actor)}
    if not set(scopes) <= mine:
        raise Invalid("Your roles do not give you all of that. Choose less, or ask an admin for the role.", "scopes")
    if days not in LIFETIMES:
        raise Invalid("Choose one of the lifetimes in the list.", "days")
    db.session.execute(sa.select(User.id).where(User.id == actor.id).with_for_update())
    alive = sa.select(sa.func.count()).where(StaffToken.user_id == actor.id, *_alive(now))
    if (db.session.scalar(alive) or 0) >= MOST_PER_PERSON:
        raise Conflict(f"You have {MOST_PER_PERSON} tokens. Revoke one that you no longer use.")
    token = PREFIX + tokens.make_token()
    made = StaffToken(
        user_id=actor.id, label=label, scopes=sorted(set(scopes)), token_hash=tokens.hash_token(token),
        created_at=now, expires_at=now + timedelta(days=days),
    )  # fmt: skip
    db.session.add(made)
    db.session.flush()
    audit.record(
        "staff_token.created", subject_type="staff_token", subject_id=made.id, actor=actor, now=now,
        label=label, scopes=made.scopes, expires_at=made.expires_at.isoformat(), user_id=actor.id,
    )  # fmt: skip
    return token


def authenticate(token: str, now: datetime) -> StaffToken | None:
    """Return the token with its owner and their roles, or None: unknown, revoked, expired, or its owner's account is closed."""
    return (
        db.session.scalars(
            sa.select(StaffToken)
            .join(StaffToken.user)
            .where(StaffToken.token_hash == tokens.hash_token(token), User.active.is_(True), *_alive(now))
            .options(contains_eager(StaffToken.user).selectinload(User.roles))
            .execution_options(populate_existing=True)
        )
        .unique()
        .one_or_none()
    )


def may(token: StaffToken, scope: str) -> bool:
    """Whether the token was given `scope`, and its owner still has a role that gives it."""
    return scope in token.scopes and SCOPES[scope].is_open_to(token.user)


def is_touch_due(token: StaffToken, now: datetime) -> bool:
    """Whether `touch` would write anything."""
    return last_use.is_due(token.last_used_at, now)


def touch(token_id: int, *, now: datetime) -> None:
    """Remember that the token was used, at most once a minute."""
    last_use.touch(StaffToken.last_used_at, StaffToken.id == token_id, now=now)


def revoke(token_id: int, *, actor: User, now: datetime) -> StaffToken:
    """Make a token worthless: one of the actor's own, or anybody's for an admin. Raises NotFound for any other, and a dead one."""
    wanted = sa.select(StaffToken).where(StaffToken.id == token_id, *_alive(now))
    if ADMIN not in actor.role_names:
        wanted = wanted.where(StaffToken.user_id == actor.id)
    token = db.session.scalar(wanted.with_for_update(of=StaffToken))
    if token is None:
        raise NotFound("There is no such token.")
    token.revoked_at = now
    audit.record(
        "staff_token.revoked", subject_type="staff_token", subject_id=token.id, actor=actor, now=now,
        label=token.label, user_id=token.user_id,
    )  # fmt: skip
    db.session.flush()
    return token


def revoke_all(person: User, *, now: datetime) -> int:
    """Make all tokens of a person worthless, and return how many that were. The caller records why."""
    ended = db.session.execute(
        sa.update(StaffToken)
        .where(StaffToken.user_id == person.id, StaffToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(StaffToken.id)
        .execution_options(synchronize_session=False)
    )
    return len(ended.all())


def alive_tokens(person: User | None, now: datetime) -> list[StaffToken]:
    """Return the tokens that still count, of one person or of everybody, with their owners; the newest first."""
    wanted = (
        sa.select(StaffToken)
        .join(StaffToken.user)
        .where(*_alive(now))
        .options(contains_eager(StaffToken.user).selectinload(User.roles))
        .order_by(StaffToken.id.desc())
    )
    if person is not None:
        wanted = wanted.where(StaffToken.user_id == person.id)
    return list(db.session.scalars(wanted).unique())


def _alive(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (StaffToken.revoked_at.is_(None), StaffToken.expires_at > now)
