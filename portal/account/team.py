"""The vendor's own people: who has which role, and what dies when a role is taken."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import selectinload

from portal import audit
from portal.account import sessions, staff_tokens
from portal.account.models import Role, StaffToken, User, UserSession, roles_users
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound

ADMIN = "admin"


@dataclass(frozen=True)
class Member:
    """A member of staff, when they were last seen, and how many tokens act for them."""

    person: User
    last_seen_at: datetime | None
    tokens: int


def members(now: datetime) -> list[Member]:
    """Return everybody with a role, by name: three statements, however many they are."""
    seen = sa.select(UserSession.user_id, sa.func.max(UserSession.last_seen_at).label("at")).group_by(UserSession.user_id).subquery()
    tokens = (
        sa.select(StaffToken.user_id, sa.func.count().label("number"))
        .where(StaffToken.revoked_at.is_(None), StaffToken.expires_at > now)
        .group_by(StaffToken.user_id)
        .subquery()
    )
    rows = db.session.execute(
        sa.select(User, seen.c.at, tokens.c.number)
        .outerjoin(seen, seen.c.user_id == User.id)
        .outerjoin(tokens, tokens.c.user_id == User.id)
        .where(User.id.in_(sa.select(roles_users.c.user_id)))
        .options(selectinload(User.roles))
        .order_by(User.name, User.email)
    )
    return [Member(person, at, number or 0) for person, at, number in rows]


def find(person_id: int) -> User:
    """Return a member of staff. Raises NotFound for anybody else."""
    person = db.session.get(User, person_id, options=[selectinload(User.roles)])
    if person is None or not person.is_staff:
        raise NotFound("There is no such member of staff.")
    return person


def set_roles(person: User, roles: Iterable[str], known: Iterable[str], *, actor: User | None, now: datetime) -> None:
    """Give a member of staff exactly `roles`, of those that are `known`.

    What a lost role gave ends with the next request, since roles are looked at on each; sessions end at once, so that nothing
    stays on a screen. Somebody without any role left is no member of staff, and their tokens die.
    Raises Invalid for an unknown role, Conflict if nobody would be left to give roles.
    """
    wanted, before = frozenset(roles), person.role_names
    if not wanted <= frozenset(known):
        raise Invalid("There is no such role.", "roles")
    if wanted == before:
        return
    if ADMIN in before - wanted:
        _keep_an_admin(person)
    rows = {role.name: role for role in db.session.scalars(sa.select(Role).with_for_update())}
    person.roles = [rows.get(name) or Role(name=name) for name in sorted(wanted)]
    if before - wanted:
        sessions.end_all(person, now=now)
    dead = staff_tokens.revoke_all(person, now=now) if not wanted else 0
    db.session.flush()
    audit.record(
        "staff.roles_changed", subject_type="user", subject_id=person.id, actor=actor, now=now,
        changes=audit.changes({"roles": sorted(before)}, {"roles": sorted(wanted)}), tokens_revoked=dead,
    )  # fmt: skip


def close(person: User, *, actor: User | None, now: datetime) -> None:
    """Close an account: nobody can sign in to it, and its sessions and staff tokens die. Raises Conflict for the last admin, for
    one's own account, and for a closed one."""
    if actor is not None and actor.id == person.id:
        raise Conflict("You cannot close your own account. Ask another admin.")
    if not person.active:
        raise Conflict("This account is closed already.")
    if ADMIN in person.role_names:
        _keep_an_admin(person)
    person.active = False
    sessions.end_all(person, now=now)
    dead = staff_tokens.revoke_all(person, now=now)
    audit.record("account.closed", subject_type="user", subject_id=person.id, actor=actor, now=now, tokens_revoked=dead)
    db.session.flush()


def reopen(person: User, *, actor: User | None, now: datetime) -> None:
    """Open a closed account again; what died with it stays dead. Raises Conflict for an open or an erased one."""
    if person.active or person.erased_at is not None:
        raise Conflict("This account is not closed." if person.active else "This person was erased; nothing is left to open.")
    person.active = True
    audit.record("account.reopened", subject_type="user", subject_id=person.id, actor=actor, now=now)
    db.session.flush()


def _keep_an_admin(person: User) -> None:
    """Raise Conflict if `person` is the only admin who can sign in. The role's row is locked, so two at once cannot both go."""
    db.session.execute(sa.select(Role.id).where(Role.name == ADMIN).with_for_update())
    others = sa.exists().where(User.id != person.id, User.active.is_(True), User.roles.any(Role.name == ADMIN))
    if not db.session.scalar(sa.select(others)):
        raise Conflict("Nobody else is an admin. Make somebody admin first.")
