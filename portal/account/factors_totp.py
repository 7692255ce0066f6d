"""Codes of authenticator apps (TOTP, RFC 6238): six digits of a new one every 30 seconds, each good for one sign-in.

The secret is shown while the app is set up, and afterwards lies encrypted in the database under a key derived from SECRET_KEY:
a copy of the database alone makes no codes.
"""

import base64
import hmac
import secrets
from datetime import datetime, timedelta

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from portal.account.models import Authenticator
from portal.database import db

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20  # as long as the hash (RFC 4226, 4)
# Clocks may be one step off, either way (RFC 6238, 5.2).
DRIFT_STEPS = 1
SET_UP_WITHIN = timedelta(minutes=30)


def make_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def seal(secret: bytes, user_id: int, secret_key: str, *, now: datetime) -> str:
    """Return the secret encrypted, and bound to the person and the time."""
    return _fernet(secret_key).encrypt_at_time(f"{user_id}:".encode() + secret, int(now.timestamp())).decode()


def unseal(
    sealed: str, user_id: int, secret_key: str, *, sealed_within: timedelta | None = None, now: datetime | None = None
) -> bytes | None:
    """Return the secret, or None for one sealed under another SECRET_KEY, for another person or, if it is asked, too long ago."""
    try:
        fernet = _fernet(secret_key)
        if sealed_within is not None and now is not None:
            plain = fernet.decrypt_at_time(sealed, int(sealed_within.total_seconds()), int(now.timestamp()))
        else:
            plain = fernet.decrypt(sealed)
    except (InvalidToken, ValueError):
        return None
    owner, _, secret = plain.partition(b":")
    return secret if owner == str(user_id).encode() else None


def _fernet(secret_key: str) -> Fernet:
    key = HKDF(SHA256(), length=32, salt=None, info=b"portal: secrets of authenticators").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(key))


def _totp(secret: bytes) -> TOTP:
    # SHA-1 is what every app knows, and HMAC does not need its collision resistance (RFC 6238, 1.2).
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # nosec B303 # noqa: S303


def typed_secret(secret: bytes) -> str:
    """The secret as people type it into an app: base32 in groups of four."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def address_of(secret: bytes, *, account: str, issuer: str) -> str:
    """Return the otpauth:// address that the QR code carries."""
    return _totp(secret).get_provisioning_uri(account, issuer)


def match(secret: bytes, code: str, now: datetime) -> int | None:
    """Return the time step that `code` belongs to, the present one or a neighbour; None for a wrong code.

    All steps are compared, each in constant time.
    """
    current = int(now.timestamp()) // STEP_SECONDS
    found = None
    for counter in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        right = _totp(secret).generate(counter * STEP_SECONDS)
        if hmac.compare_digest(right, code.encode()):
            found = counter
    return found


def use(user_id: int, code: str, secret_key: str, *, now: datetime) -> bool:
    """Take a code: True once, for a right one of a later step than the last one taken.

    One UPDATE decides, so of two parallel uses of one code, one succeeds (OWASP ASVS 5.0, 6.5.1).
    """
    kept = db.session.execute(sa.select(Authenticator.id, Authenticator.secret).where(Authenticator.user_id == user_id)).one_or_none()
    if kept is None:
        return False
    secret = unseal(kept.secret, user_id, secret_key)
    counter = match(secret, code, now) if secret is not None else None
    if counter is None:
        return False
    taken = db.session.execute(
        sa.update(Authenticator)
        .where(Authenticator.id == kept.id, Authenticator.last_counter < counter)
        .values(last_counter=counter, last_used_at=now)
        .returning(Authenticator.id)
        .execution_options(synchronize_session=False)
    )
    return taken.first() is not None
