"""Second factors as a whole: which a person has, taking a code of them, setting up, removing, and starting over when all are lost.

A person has a second factor with an authenticator app or a passkey. Recovery codes come with the first of these, and go with the
last. Each change is told by mail and stands in the audit log; sessions begun before the first factor, or before one was taken
away, end on all other devices (OWASP ASVS 5.0, 7.4.3).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from portal import audit
from portal.account import factors_passkeys, factors_recovery, factors_throttle, factors_totp, security_mail, sessions
from portal.account.models import Authenticator, Passkey, User
from portal.config import Settings
from portal.database import db
from portal.errors import Conflict, Invalid, NotFound
from portal.text import clean_line

STALE = "This page was open for too long. Scan the new code, then enter what the app shows."
WRONG_CODE = "That is not the code that the app shows now. Check that you scanned this QR code and that the phone's clock is right."


class Way(StrEnum):
    """How a person proved who they are, after the password or instead of it."""

    AUTHENTICATOR = "authenticator"
    RECOVERY_CODE = "recovery_code"
    PASSKEY = "passkey"


@dataclass(frozen=True)
class Factors:
    """The second factors of a person."""

    authenticator: Authenticator | None
    passkeys: list[Passkey]
    codes_left: int

    @property
    def any(self) -> bool:
        return self.authenticator is not None or bool(self.passkeys)

    @property
    def single(self) -> bool:
        """Whether removing one would leave none."""
        return (self.authenticator is not None) + len(self.passkeys) == 1


def factors_of(user_id: int) -> Factors:
    return Factors(
        db.session.scalar(sa.select(Authenticator).where(Authenticator.user_id == user_id)),
        factors_passkeys.passkeys_of(user_id),
        factors_recovery.left(user_id),
    )


def has_factor(user_id: int) -> bool:
    """Whether signing in asks this person for more than the password."""
    found = sa.select(
        sa.or_(sa.exists().where(Authenticator.user_id == user_id), sa.exists().where(Passkey.user_id == user_id))
    )  # fmt: skip
    return bool(db.session.scalar(found))


def holders_among(user_ids: Collection[int]) -> set[int]:
    """Which of these people have a second factor, by one statement."""
    held = sa.union(*(sa.select(model.user_id).where(model.user_id.in_(user_ids)) for model in (Authenticator, Passkey)))
    return set(db.session.scalars(held))


def must_have_one(person: User, settings: Settings) -> bool:
    """Whether this person may do nothing before a second factor is set up."""
    return settings.staff_needs_second_factor and person.is_staff


def take_code(person: User, typed: str, settings: Settings, *, now: datetime) -> Way | None:
    """Take a code of the app, or a recovery code: say which it was, None if it is wrong, was used before, or codes are locked.

    The last wrong code allowed locks codes and tells the person, whose password somebody seems to know.
    """
    _lock(person)
    way = _which(person.id, typed, settings, now)
    if way is not None and factors_throttle.admit(person.id, now=now):
        note_use(person, way, now=now)
        return way
    audit.record("factor.failed", subject_type="user", subject_id=person.id, actor=None, now=now)
    if way is None and factors_throttle.count_failure(person.id, settings, now=now):
        audit.record("factor.locked", subject_type="user", subject_id=person.id, actor=None, now=now)
        security_mail.tell(
            person.id,
            "Wrong codes were entered for your account",
            "Somebody entered your password, and then too many wrong codes. We take no codes for a while; passkeys still work.",
            now=now,
        )
    return None


def _which(user_id: int, typed: str, settings: Settings, now: datetime) -> Way | None:
    code = "".join(typed.split())
    if len(code) == factors_totp.DIGITS and code.isascii() and code.isdigit():
        return Way.AUTHENTICATOR if factors_totp.use(user_id, code, settings.secret_key, now=now) else None
    if factors_recovery.is_shaped_like_one(typed):
        return Way.RECOVERY_CODE if factors_recovery.use(user_id, typed, now=now) else None
    return None


def note_use(person: User, way: Way, *, now: datetime, **details: str) -> None:
    """Note that a factor let a person in; a recovery code is told by mail as well, since it seldom should."""
    audit.record("factor.used", subject_type="user", subject_id=person.id, actor=person, now=now, way=way.value, **details)
    if way is Way.RECOVERY_CODE:
        left = factors_recovery.left(person.id)
        security_mail.tell(
            person.id,
            "A recovery code was used",
            f"One of your recovery codes was used to sign in, or to confirm it; {left} {'is' if left == 1 else 'are'} left.",
            now=now,
        )


def set_up_authenticator(person: User, sealed: str, code: str, settings: Settings, *, session_token: str, now: datetime) -> list[str]:
    """Set up an authenticator app, in place of an earlier one, once it has shown a right code.

    `sealed` is the secret as `factors_totp.seal` gave it to the page. Returns new recovery codes if this is the first factor.
    Raises Invalid for a page that was open too long, and for a wrong code (field `code`); Conflict for a form sent twice.
    """
    secret = factors_totp.unseal(sealed, person.id, settings.secret_key, sealed_within=factors_totp.SET_UP_WITHIN, now=now)
    if secret is None:
        raise Invalid(STALE)
    counter = factors_totp.match(secret, "".join(code.split()), now)
    if counter is None:
        raise Invalid(WRONG_CODE, "code")
    had = _held(person)
    if had.authenticator is not None and factors_totp.unseal(had.authenticator.secret, person.id, settings.secret_key) == secret:
        raise Conflict("This app is set up already.")
    db.session.execute(sa.delete(Authenticator).where(Authenticator.user_id == person.id))
    kept = factors_totp.seal(secret, person.id, settings.secret_key, now=now)
    db.session.add(Authenticator(user_id=person.id, secret=kept, last_counter=counter, created_at=now))
    db.session.flush()
    replaced = had.authenticator is not None
    factors_throttle.unlock(person.id)
    if replaced or not had.any:
        sessions.end_others(person, session_token, now=now)
    audit.record("authenticator.added", subject_type="user", subject_id=person.id, actor=person, now=now, replaced=replaced)
    security_mail.tell(
        person.id,
        "Your authenticator app was replaced" if replaced else "An authenticator app was set up",
        "An authenticator app was set up for your account"
        + (" in place of the one before. Codes of the old one no longer work." if replaced else ". Signing in asks for a code of it."),
        now=now,
    )
    return [] if had.any else factors_recovery.make(person.id, now=now)


def add_passkey(
    person: User,
    answer: str,
    label: str,
    ceremony: factors_passkeys.Ceremony,
    settings: Settings,
    *,
    session_token: str,
    now: datetime,
) -> list[str]:
    """Register the passkey of a browser's `answer`. Returns new recovery codes if this is the first factor.

    Raises what `factors_passkeys.register` raises.
    """
    had = _held(person)
    key = factors_passkeys.register(person, answer, label, ceremony, settings, now=now)
    if not had.any:
        sessions.end_others(person, session_token, now=now)
    audit.record("passkey.added", subject_type="user", subject_id=person.id, actor=person, now=now, label=key.label)
    security_mail.tell(
        person.id,
        "A passkey was added",
        f"The passkey “{key.label}” was added to your account. It signs in without the password, and a new password does not take it "
        "away: that is done on the page of password and sessions.",
        now=now,
    )
    return [] if had.any else factors_recovery.make(person.id, now=now)


def remove_authenticator(person: User, settings: Settings, *, session_token: str, now: datetime) -> None:
    """Take the app's codes away. Raises NotFound if there is none, Conflict for the last factor of somebody who must have one."""
    held = _held(person)
    if held.authenticator is None:
        raise NotFound("No authenticator app is set up.")
    _check_removal(person, held, settings)
    db.session.execute(sa.delete(Authenticator).where(Authenticator.user_id == person.id))
    _after_removal(person, held, session_token, now)
    audit.record("authenticator.removed", subject_type="user", subject_id=person.id, actor=person, now=now)
    security_mail.tell(
        person.id, "The authenticator app was removed", "The authenticator app was removed from your account.", now=now
    )  # fmt: skip


def remove_passkey(person: User, passkey_id: int, settings: Settings, *, session_token: str, now: datetime) -> str:
    """Forget one of the person's passkeys and return what it was called. Raises as `remove_authenticator` does."""
    held = _held(person)
    label = next((key.label for key in held.passkeys if key.id == passkey_id), None)
    if label is None:
        raise NotFound("There is no such passkey.")
    _check_removal(person, held, settings)
    db.session.execute(sa.delete(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == person.id))
    _after_removal(person, held, session_token, now)
    audit.record("passkey.removed", subject_type="user", subject_id=person.id, actor=person, now=now, label=label)
    security_mail.tell(person.id, "A passkey was removed", f"The passkey “{label}” was removed from your account.", now=now)
    return label


def rename_passkey(person: User, passkey_id: int, label: str, *, now: datetime) -> str:
    """Call one of the person's passkeys something else, and return what. Raises NotFound, or Invalid for a bad name."""
    key = next((key for key in _held(person).passkeys if key.id == passkey_id), None)
    if key is None:
        raise NotFound("There is no such passkey.")
    before, key.label = key.label, clean_line(label, "label", 80)
    if before != key.label:
        audit.record("passkey.renamed", subject_type="user", subject_id=person.id, actor=person, now=now, before=before, after=key.label)
    db.session.flush()
    return key.label


def make_recovery_codes(person: User, *, now: datetime) -> list[str]:
    """Return new recovery codes; the old ones are worth nothing from now on. Raises Conflict for somebody without a factor."""
    if not _held(person).any:
        raise Conflict("Recovery codes stand in for a second factor. Set one up first.")
    codes = factors_recovery.make(person.id, now=now)
    audit.record("recovery_codes.made", subject_type="user", subject_id=person.id, actor=person, now=now)
    security_mail.tell(
        person.id, "New recovery codes were made", "New recovery codes were made for your account. The old ones no longer work.", now=now
    )
    return codes


def reset(person: User, *, actor: User | None, now: datetime) -> None:
    """Take all factors of a person away who has lost them, and sign them out everywhere. The password stays as it is.

    Raises Conflict if there are none.
    """
    if not _held(person).any:
        raise Conflict(f"{person.email} has no second factor.")
    forget(person.id)
    sessions.end_all(person, now=now)
    audit.record("factors.reset", subject_type="user", subject_id=person.id, actor=actor, now=now)
    security_mail.tell(
        person.id,
        "Your second factors were removed",
        "The vendor removed the second factors of your account: authenticator app, passkeys and recovery codes. You were signed out "
        "everywhere. Sign in with your password, and set up a new factor.",
        now=now,
    )


def forget(user_id: int) -> None:
    """Delete everything kept about the factors of a person, without a word."""
    for model in (Authenticator, Passkey):
        db.session.execute(sa.delete(model).where(model.user_id == user_id))
    factors_recovery.forget(user_id)
    factors_throttle.unlock(user_id)


def _held(person: User) -> Factors:
    """What the person has, read under their lock: two changes at once would each count on the other factor."""
    _lock(person)
    return factors_of(person.id)


def _lock(person: User) -> None:
    """Let one act about this person's factors wait for the other; always the first lock taken, so that none waits in a circle.

    A weaker lock than usual: new sessions, which refer to the person, need not wait.
    """
    db.session.execute(sa.select(User.id).where(User.id == person.id).with_for_update(key_share=True))


def _check_removal(person: User, held: Factors, settings: Settings) -> None:
    if held.single and must_have_one(person, settings):
        raise Conflict("Staff need a second factor here. Set up another one first, then remove this one.")


def _after_removal(person: User, held: Factors, session_token: str, now: datetime) -> None:
    if held.single:
        factors_recovery.forget(person.id)
    sessions.end_others(person, session_token, now=now)
