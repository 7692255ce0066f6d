"""Flask-Security's forms, with failures counted, and with the same work done whether or not an account exists.

Like a view, this module is an edge: Flask-Security's views never commit what a refused or "forgot" request writes, so these forms do
it, in a `transaction()` of their own.
"""

from datetime import timedelta
from typing import Any

from flask import g
from flask_login import current_user
from flask_security import UserMixin
from flask_security.forms import ChangePasswordForm, ForgotPasswordForm, LoginForm, ResetPasswordForm, VerifyForm
from flask_security.utils import get_message
from wtforms import PasswordField, StringField

from portal import audit, clock
from portal.account import factors, security_mail, session_cookie, throttle
from portal.account.factor_forms import ONE_TIME
from portal.account.models import User
from portal.config import current_settings
from portal.database import transaction

# Mails with a link to choose a password that one account gets within RESET_WINDOW, whoever asks for them.
MOST_RESETS = 5
RESET_WINDOW = timedelta(hours=1)
WRONG_CODE = "That code does not match, or it was used before."


class SignInForm(LoginForm):
    """The sign-in form, with failures counted, and no cookie that outlives the session."""

    remember: Any = None  # takes the field out of the form

    def validate(self, **options: Any) -> bool:
        matches = bool(super().validate(**options))
        return settle(self.user, self.password, matches=matches)


class ConfirmForm(VerifyForm):
    """Asks a signed-in person once more for all that signing in asks: the password, and a code where there is a second factor (OWASP ASVS
    5.0, 7.5.1). Wrong answers count as they do there, and no code is used up by a wrong password."""

    code = StringField("Code", render_kw=ONE_TIME)

    def __init__(self, *, user: User, **options: Any) -> None:
        super().__init__(user=user, **options)
        if not factors.has_factor(user.id):
            del self.code

    def validate(self, **options: Any) -> bool:
        if self.code is not None and self.password.data and not (self.code.data or "").strip():
            self.code.errors = ["Enter a code, too."]
            return False
        if not settle(self.user, self.password, matches=bool(super().validate(**options))):
            return False
        with transaction():
            person = current_user._get_current_object()
            right = self.code is None or factors.take_code(person, self.code.data or "", current_settings(), now=clock.now()) is not None
            if right:
                session_cookie.confirm()
        if not right:
            note_success(False)
            self.code.data, self.code.errors = "", [WRONG_CODE]
        return right


class ChangeForm(ChangePasswordForm):
    """Changing the password; a wrong current one counts as it does at sign-in."""

    def validate(self, **options: Any) -> bool:
        fine = bool(super().validate(**options))
        wrong = get_message("INVALID_PASSWORD")[0] in self.password.errors
        return settle(current_user, self.password, matches=True) if fine else settle(current_user, self.password) if wrong else False


class ResetForm(ResetPasswordForm):
    """Choosing a new password by a link from a mail; the link is worth nothing once the account is closed."""

    def validate(self, **options: Any) -> bool:
        if self.user is not None and not self.user.active:
            self.password.errors = [get_message("DISABLED_ACCOUNT")[0]]
            return False
        return bool(super().validate(**options))


class ForgotForm(ForgotPasswordForm):
    """The "forgot" form, doing the same work whether or not the address has an account.

    It puts the mail into the outbox itself and is never valid, so that Flask-Security's view takes one and the same way for every
    address: the one for unknown ones. An address that was only typed into a public form is no account: a stranger could have two kinds
    of mail sent to it. Nor does an account get more than MOST_RESETS mails within RESET_WINDOW; the answer says nothing of that either.
    """

    def validate(self, **options: Any) -> bool:
        known = bool(super().validate(**options)) and isinstance(self.user, User) and not self.user.provisional
        person_id = self.user.id if known and self.user else None
        now = clock.now()
        sent = security_mail.resets_since(person_id or security_mail.NOBODY, now - RESET_WINDOW)
        with transaction():
            security_mail.enqueue_reset(person_id if sent < MOST_RESETS else None, now=now)
            audit.record("password.reset_asked", subject_type="user", subject_id=person_id, actor=None, now=now)
        return False


def settle(person: UserMixin | None, field: PasswordField, *, matches: bool = False) -> bool:
    """Count a wrong password, or admit a right one: say whether it counts, which no password does while the lock lasts.

    A field left empty was no guess. The answer to a locked account is the answer to a wrong password.
    """
    if not field.data:
        return False
    now, person_id = clock.now(), person.id if person else None  # read here: in the transaction it would cost a query that strangers do not
    with transaction():
        # Asked for wrong passwords, too: a locked account must not show by its work that the password was right.
        admitted = throttle.admit(person_id if matches else None, now=now)
        if not admitted:
            throttle.count_failure(person_id, current_settings(), now=now)
    if matches and not admitted:
        field.errors = [get_message("INVALID_PASSWORD")[0]]
    if admitted:
        note_success()
    return admitted


def note_success(succeeded: bool = True) -> None:
    """Say whether this request was no failed try, so that it is not counted against its address."""
    g.portal_try_succeeded = succeeded


def try_succeeded() -> bool:
    return bool(g.get("portal_try_succeeded"))
