"""The devices people sign in with, so that a new one is told by mail.

A device is known by a cookie of its own, which outlives sessions, or, where a browser throws its cookies away, by what it calls
itself and the network it comes from. The first device of a person is no news: how the account came about was told by mail.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

import sqlalchemy as sa

from portal import tokens
from portal.account import security_mail
from portal.account.devices import describe
from portal.account.models import User
from portal.account.security_models import KnownDevice
from portal.config import current_settings
from portal.database import db

# Browsers keep a cookie for 400 days at most (RFC 6265bis, 5.5); what was not used for so long is forgotten here, too.
KEPT = timedelta(days=400)
LONGEST_NAME = 200


def recognise(person: User, token: str, *, user_agent: str, network: str, now: datetime) -> str:
    """Note that `person` signs in on a device, tell them if it is a new one, and return the token for its cookie.

    `token` is what the device's cookie holds, or empty. A token that is not this person's is never taken over: somebody else may
    have put it there.
    """
    hashed = tokens.hash_token(token)
    fingerprint = fingerprint_of(user_agent, network)
    known = list(db.session.scalars(sa.select(KnownDevice).where(KnownDevice.user_id == person.id)))
    device = next((one for one in known if one.token_hash == hashed), None)
    if device is not None:
        device.last_seen_at, device.fingerprint, device.name = now, fingerprint, describe(user_agent)[:LONGEST_NAME]
        return token
    token, name = tokens.make_token(), describe(user_agent)[:LONGEST_NAME]
    db.session.add(
        KnownDevice(
            user_id=person.id,
            token_hash=tokens.hash_token(token),
            fingerprint=fingerprint,
            name=name,
            created_at=now,
            last_seen_at=now,
        )
    )
    db.session.flush()
    if known and not any(hmac.compare_digest(one.fingerprint, fingerprint) for one in known):
        what = f"Somebody signed in to your account on a device we had not seen before: {name}."
        security_mail.tell(person.id, "New sign-in to your account", what, now=now)
    return token


def is_known(token: str, email: str | None) -> bool:
    """Whether somebody has signed in on the device of this cookie before: the person with this (normalised) address, if one is given."""
    found = sa.select(sa.exists().where(KnownDevice.token_hash == tokens.hash_token(token)))
    if email is not None:
        found = sa.select(
            sa.exists().where(KnownDevice.token_hash == tokens.hash_token(token), KnownDevice.user_id == User.id, User.email == email)
        )
    return bool(db.session.scalar(found))


def fingerprint_of(user_agent: str, network: str) -> str:
    """Return a keyed hash of what the browser calls itself and where it comes from."""
    key = current_settings().secret_key.encode()
    return hmac.new(key, f"device:{network}:{user_agent}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def sweep(now: datetime) -> int:
    """Forget the devices that nobody has signed in with for long; return how many."""
    gone = db.session.execute(
        sa.delete(KnownDevice)
        .where(KnownDevice.last_seen_at <= now - KEPT)
        .returning(KnownDevice.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
