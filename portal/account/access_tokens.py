"""Personal tokens for downloads and feeds outside the browser.

A token is bound to a contact's row: it dies with the seat, and shows nothing that the seat would not. It is good for one purpose:
a feed's token stands in an address, which feed readers and their servers keep, so it opens no download; nor the other way round.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager, joinedload

from portal import audit, tokens
from portal.account import last_use
from portal.account.models import AccessToken, Contact, Contract, TokenPurpose, User
from portal.database import db
from portal.errors import Conflict, NotFound
from portal.text import clean_line

MOST_PER_SEAT = 20
_CALLED = {TokenPurpose.DOWNLOAD: "download tokens", TokenPurpose.FEED: "private feeds"}


# Built once, as each range of a download asks them.
_SPEAKS_FOR = (
    sa.select(Contact)
    .join(AccessToken, AccessToken.contact_id == Contact.id)
    .join(Contact.user)
    .where(
        AccessToken.token_hash == sa.bindparam("token_hash"),
        AccessToken.purpose == sa.bindparam("purpose"),
        AccessToken.revoked_at.is_(None),
        Contact.released_at.is_(None),
        User.active.is_(True),
    )
    .options(contains_eager(Contact.user).joinedload(User.roles))
)
_TOUCH_IS_DUE = sa.select(AccessToken.id).where(
    AccessToken.token_hash == sa.bindparam("token_hash"),
    sa.or_(AccessToken.last_used_at.is_(None), AccessToken.last_used_at <= sa.bindparam("before")),
)


def create(
    contact_id: int, label: str, *, purpose: TokenPurpose = TokenPurpose.DOWNLOAD, actor: User, now: datetime
) -> str:  # fmt: skip
    """Make a token for a seat and return it: it is shown this once, and only its hash is stored.

    Raises Invalid for a bad label, NotFound unless the seat is the actor's own, Conflict when it has too many
    tokens of that purpose.
    """
    label = clean_line(label, "label", 80)
    contact = db.session.scalar(
        sa.select(Contact)
        .where(Contact.id == contact_id, Contact.user_id == actor.id, Contact.released_at.is_(None))
        .with_for_update(of=Contact)
    )
    if contact is None:
        raise NotFound("There is no such seat.")
    alive = sa.select(sa.func.count()).where(
        AccessToken.contact_id == contact.id, AccessToken.purpose == purpose, AccessToken.revoked_at.is_(None)
    )
    if (db.session.scalar(alive) or 0) >= MOST_PER_SEAT:
        raise Conflict(f"You have {MOST_PER_SEAT} {_CALLED[purpose]}. Revoke one that you no longer use.")
    token = tokens.make_token()
    db.session.add(AccessToken(contact_id=contact.id, purpose=purpose, label=label, token_hash=tokens.hash_token(token), created_at=now))
    audit.record(
        "access_token.created", subject_type="contract", subject_id=contact.contract_id, actor=actor, now=now,
        label=label, purpose=purpose.value,
    )  # fmt: skip
    db.session.flush()
    return token


def authenticate(token: str, purpose: TokenPurpose) -> Contact | None:
    """Return the contact a token speaks for, or None: unknown or revoked token, one made for something else, released seat,
    closed account.

    Whether the contract is in force is not asked here; `entitlements.decide` does that, as for everybody.
    """
    return db.session.scalars(_SPEAKS_FOR, {"token_hash": tokens.hash_token(token), "purpose": purpose}).unique().one_or_none()


def is_touch_due(token: str, now: datetime) -> bool:
    """Whether `touch` would write anything: asking is cheaper, and each range of a download would."""
    return db.session.scalar(_TOUCH_IS_DUE, {"token_hash": tokens.hash_token(token), "before": now - last_use.EVERY}) is not None


def touch(token: str, *, now: datetime) -> None:
    """Remember that the token was used, at most once a minute."""
    last_use.touch(AccessToken.last_used_at, AccessToken.token_hash == tokens.hash_token(token), now=now)


def revoke(token_id: int, *, actor: User, now: datetime) -> TokenPurpose:
    """Make one of the actor's tokens worthless, and return what it was for. Raises NotFound if the actor has no such token."""
    token = db.session.scalar(
        sa.select(AccessToken)
        .join(AccessToken.contact)
        .where(AccessToken.id == token_id, AccessToken.revoked_at.is_(None), Contact.user_id == actor.id)
    )
    if token is None:
        raise NotFound("There is no such token.")
    token.revoked_at = now
    audit.record(
        "access_token.revoked", subject_type="contract", subject_id=token.contact.contract_id, actor=actor, now=now,
        label=token.label, purpose=token.purpose.value,
    )  # fmt: skip
    db.session.flush()
    return token.purpose


def tokens_of(person: User) -> list[AccessToken]:
    """Return the person's tokens of both purposes that still work, the newest first."""
    return list(
        db.session.scalars(
            sa.select(AccessToken)
            .join(AccessToken.contact)
            .where(Contact.user_id == person.id, Contact.released_at.is_(None), AccessToken.revoked_at.is_(None))
            .options(joinedload(AccessToken.contact).joinedload(Contact.contract).joinedload(Contract.product))
            .order_by(AccessToken.id.desc())
        )
    )


def seats_of(person: User) -> list[Contact]:
    """Return the seats for which the person can make tokens, by contract number."""
    return list(
        db.session.scalars(
            sa.select(Contact)
            .join(Contact.contract)
            .where(Contact.user_id == person.id, Contact.released_at.is_(None))
            .options(joinedload(Contact.contract).joinedload(Contract.product))
            .order_by(Contract.number)
        )
    )
