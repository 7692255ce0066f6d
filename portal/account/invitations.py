"""Invitations to take a seat: single use, and only the POST of a form uses one up."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from flask import current_app

from portal import tokens
from portal.account.models import Contact, Invitation, User
from portal.config import Settings
from portal.database import db
from portal.notices import outbox
from portal.notices.kinds import Kind, register

KIND = "invitation"
PURPOSE = "invitation"


def invite(contact: Contact, *, actor: User | None, now: datetime) -> Invitation:
    """Invite a contact by mail; an open invitation of the same seat is revoked, so one link works at a time."""
    revoke_open(contact.id, now=now)
    settings: Settings = current_app.extensions["portal.settings"]
    nonce = tokens.make_token()
    invitation = Invitation(
        contact=contact,
        nonce=nonce,
        token_hash=tokens.hash_token(tokens.derive_token(settings.secret_key, PURPOSE, nonce)),
        created_at=now,
        expires_at=now + timedelta(days=settings.invitation_days),
    )
    db.session.add(invitation)
    db.session.flush()
    person = sa.select(User.id, User.email, User.name).where(User.id == contact.user_id)
    outbox.enqueue(KIND, person, context={"invitation_id": invitation.id}, now=now, created_by_id=actor.id if actor else None)
    return invitation


def revoke_open(contact_id: int, *, now: datetime) -> None:
    """Make the open invitations of a contact worthless."""
    db.session.execute(
        sa.update(Invitation)
        .where(Invitation.contact_id == contact_id, Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(KIND))
