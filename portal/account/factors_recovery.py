"""Recovery codes: ten, shown once, each good for one sign-in without the phone.

A code is short enough to be typed from paper, so it is hashed as slowly as a password (OWASP ASVS 5.0, 6.5.2). Its first four
characters say which of the ten it is, so that a try costs one hash; the other eight are the secret, of 40 bits.
"""

import secrets
from datetime import datetime

import sqlalchemy as sa
from flask_security.utils import hash_password, verify_password

from portal.account.models import RecoveryCode
from portal.database import db

HOW_MANY = 10
# Letters and digits that are not mistaken for each other (Crockford's base 32).
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LOOKUP, SECRET = 4, 8
_MISREAD = str.maketrans("oil", "011", "- ")


def normalize(typed: str) -> str:
    """Return a code as it was made, however it was typed: capitals, spaces, hyphens, o for 0, i or l for 1."""
    return typed.strip().lower().translate(_MISREAD)


def is_shaped_like_one(typed: str) -> bool:
    code = normalize(typed)
    return len(code) == LOOKUP + SECRET and set(code) <= set(ALPHABET)


def make(user_id: int, *, now: datetime) -> list[str]:
    """Replace the person's codes by new ones, and return these; they are kept as hashes only."""
    forget(user_id)
    codes: dict[str, str] = {}
    while len(codes) < HOW_MANY:
        code = "".join(secrets.choice(ALPHABET) for _ in range(LOOKUP + SECRET))
        codes.setdefault(code[:LOOKUP], code)
    for lookup, code in codes.items():
        db.session.add(RecoveryCode(user_id=user_id, lookup=lookup, code_hash=hash_password(code), created_at=now))
    db.session.flush()
    return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in codes.values()]


def forget(user_id: int) -> None:
    db.session.execute(sa.delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def left(user_id: int) -> int:
    """How many codes of this person were not used yet."""
    unused = sa.select(sa.func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return db.session.scalar(unused) or 0


def use(user_id: int, typed: str, *, now: datetime) -> bool:
    """Take a code: True once, for a right one. One UPDATE decides between parallel uses."""
    code = normalize(typed)
    kept = db.session.execute(
        sa.select(RecoveryCode.id, RecoveryCode.code_hash).where(
            RecoveryCode.user_id == user_id, RecoveryCode.lookup == code[:LOOKUP], RecoveryCode.used_at.is_(None)
        )
    ).one_or_none()
    if kept is None or not verify_password(code, kept.code_hash):
        return False
    taken = db.session.execute(
        sa.update(RecoveryCode)
        .where(RecoveryCode.id == kept.id, RecoveryCode.used_at.is_(None))
        .values(used_at=now)
        .returning(RecoveryCode.id)
        .execution_options(synchronize_session=False)
    )
    return taken.first() is not None
