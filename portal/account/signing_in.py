"""Flask-Security, with the gaps closed that it leaves open: throttling, mail through the outbox, sessions that end.

Like a view, this module is an edge: Flask-Security's views never commit what a refused or "forgot" request writes, so the
hooks they call do it, in a `transaction()` of their own.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask, request
from flask_login import current_user
from flask_security import Security, SQLAlchemyUserDatastore, UserMixin, password_changed, password_reset, views
from flask_security.forms import ChangePasswordForm, ForgotPasswordForm, LoginForm, ResetPasswordForm, VerifyForm
from flask_security.mail_util import EmailValidateException, MailUtil
from flask_security.password_util import PasswordUtil
from flask_security.recoverable import generate_reset_password_token
from flask_security.utils import get_message, hash_password
from wtforms import PasswordField

from portal import audit, clock, database
from portal.account import people, session_cookie, sessions, throttle
from portal.account.models import Role, User
from portal.config import Settings, current_settings
from portal.database import db, transaction
from portal.errors import Invalid
from portal.extensions import limiter
from portal.notices import outbox
from portal.notices.kinds import Due, Kind, register
from portal.notices.models import Notice
from portal.web.formatting import exact_time

PASSWORD_LENGTH = 12
LONGEST_NORMALISED = 1_000
RESET_PATH = "/account/password/reset"
RESET_HOURS = 2
NOBODY = -1
RESET = "password_reset"
CHANGED = "password_changed"
STAFF_INVITATION = "staff_invitation"
# Which of our kinds stands for which of Flask-Security's mails.
KINDS = {
    "security/email/reset_instructions": RESET,
    "security/email/reset_notice": CHANGED,
    "security/email/change_notice": CHANGED,
}

MESSAGES = {
    "GENERIC_AUTHN_FAILED": ("The email address and password do not match.", "error"),
    "PASSWORD_RESET_REQUEST": (
        f"If %(email)s has an account, a link to choose a new password is on its way to it. The link works for {RESET_HOURS} hours.",
        "success",
    ),
    "PASSWORD_RESET_EXPIRED": (
        f"This link has expired: it worked for {RESET_HOURS} hours. Enter your address, and we send a new one.",
        "error",
    ),
    "INVALID_RESET_PASSWORD_TOKEN": (
        "This link no longer works: it was used, or a newer one was sent. Enter your address, and we send a new one.",
        "error",
    ),
    "PASSWORD_RESET_NO_LOGIN": ("Your new password is saved. Sign in with it.", "success"),
    "PASSWORD_CHANGE": ("Your new password is saved. All other devices were signed out.", "success"),
    "PASSWORD_INVALID_LENGTH": ("Choose a password of %(length)s characters or more, 128 at most.", "error"),
    "PASSWORD_IS_THE_SAME": ("That is the password you have now. Choose another one.", "error"),
    "PASSWORD_NOT_PROVIDED": ("Enter a password.", "error"),
    "RETYPE_PASSWORD_MISMATCH": ("The two entries differ. Type the new password again.", "error"),
    "INVALID_PASSWORD": ("That is not your password. Check it, and enter it again.", "error"),
    "EMAIL_NOT_PROVIDED": ("Enter your email address.", "error"),
    "INVALID_EMAIL_ADDRESS": ("This is no complete email address. Write it like name@example.org.", "error"),
    "UNAUTHENTICATED": ("Sign in to go on.", "info"),
    "REAUTHENTICATION_REQUIRED": ("Confirm your password to go on.", "info"),
    "REAUTHENTICATION_SUCCESSFUL": ("Your password is confirmed.", "success"),
    "INVALID_REDIRECT": ("The link led to another site, so we did not follow it.", "error"),
    "DISABLED_ACCOUNT": ("This account is closed.", "error"),
}


class Datastore(SQLAlchemyUserDatastore):
    """Flask-Security's datastore, committing where everything else commits."""

    def commit(self) -> None:
        database.commit_pending()


datastore = Datastore(db, User, Role)


class OutboxMail(MailUtil):
    """Puts Flask-Security's mails into the outbox, where a worker finds them after the commit."""

    def send_mail(
        self, template: str, subject: str, recipient: Any, sender: Any, body: str | None, html: str | None, **context: Any
    ) -> None:
        """Enqueue the kind that stands for `template`; our templates replace body, html and subject.

        Commits, together with a changed password that still waits in the session: Flask-Security does not.
        """
        person_id = context["user"].id
        with transaction():
            enqueue(KINDS[template], person_id, now=clock.now())

    def normalize(self, email: str) -> str:
        """Return the address as it is stored. Raises EmailValidateException for what is no address."""
        try:
            return people.normalize_email(email)
        except Invalid:
            raise EmailValidateException(get_message("INVALID_EMAIL_ADDRESS")[0]) from None

    def validate(self, email: str) -> str:
        return self.normalize(email)


class Passwords(PasswordUtil):
    """Normalises what people type (NIST SP 800-63B, 3.1.1.2), unless it is so long that doing so would keep a processor busy."""

    def normalize(self, password: str) -> str:
        return super().normalize(password) if len(password) <= LONGEST_NORMALISED else password


security = Security(mail_util_cls=OutboxMail, password_util_cls=Passwords)


class SignInForm(LoginForm):
    """The sign-in form, with failures counted, and no cookie that outlives the session."""

    remember: Any = None  # takes the field out of the form

    def validate(self, **options: Any) -> bool:
        matches = bool(super().validate(**options))
        return _settle(self.user, self.password, matches=matches)


def _settle(person: UserMixin | None, field: PasswordField, *, matches: bool = False) -> bool:
    """Count a wrong password, or admit a right one: say whether it counts, which no password does while the lock lasts.

    A field left empty was no guess. The answer to a locked account is the answer to a wrong password.
    """
    if not field.data:
        return False
    now = clock.now()
    with transaction():
        admitted = matches and person is not None and throttle.admit(person.id, now=now)
        if not admitted:
            throttle.count_failure(person.id if person else None, current_settings(), now=now)
    if matches and not admitted:
        field.errors = [get_message("INVALID_PASSWORD")[0]]
    return admitted


class ConfirmForm(VerifyForm):
    """Asks a signed-in person for the password again; wrong answers count as they do at sign-in."""

    def validate(self, **options: Any) -> bool:
        return _settle(self.user, self.password, matches=bool(super().validate(**options)))


class ChangeForm(ChangePasswordForm):
    """Changing the password; a wrong current one counts as it does at sign-in."""

    def validate(self, **options: Any) -> bool:
        fine = bool(super().validate(**options))
        wrong = get_message("INVALID_PASSWORD")[0] in self.password.errors
        return _settle(current_user, self.password, matches=True) if fine else _settle(current_user, self.password) if wrong else False


class ResetForm(ResetPasswordForm):
    """Choosing a new password by a link from a mail; the link is worth nothing once the account is closed."""

    def validate(self, **options: Any) -> bool:
        if self.user is not None and not self.user.active:
            self.password.errors = [get_message("DISABLED_ACCOUNT")[0]]
            return False
        return bool(super().validate(**options))


class ForgotForm(ForgotPasswordForm):
    """The "forgot" form, doing the same work whether or not the address has an account.

    An address that was only typed into a public form is no account: a stranger could have two kinds of mail sent to it.
    """

    def validate(self, **options: Any) -> bool:
        known = bool(super().validate(**options)) and isinstance(self.user, User) and not self.user.provisional
        now = clock.now()
        if known:
            hash_password("not-a-password")  # the view does this for unknown addresses
        else:
            with transaction() as session:
                session.delete(enqueue(RESET, NOBODY, now=now))  # the mail for known ones is written, too
        with transaction():
            user_id = self.user.id if known and self.user else None
            audit.record("password.reset_asked", subject_type="user", subject_id=user_id, actor=None, now=now)
        return known


def enqueue(kind: str, person_id: int, *, now: datetime) -> Notice:
    """Put a mail of this module's `kind` to one person into the outbox."""
    person = sa.select(User.id, User.email, User.name).where(User.id == person_id)
    return outbox.enqueue(kind, person, context={}, now=now)


def check_password(password: str, person: User) -> str:
    """Return the hash of a new password. Raises Invalid (field `password`) for one that is too short."""
    errors, normalized = security.password_util.validate(password, False, user=person)
    if errors:
        raise Invalid(str(errors[0]), "password")
    return str(hash_password(normalized))


def _sign_in_limit() -> str:
    return current_settings().sign_in_limit


# Wrapped once per process, since the limiter remembers each wrapping; what the limit is, is asked at each request.
_by_address = limiter.limit(_sign_in_limit, methods=["POST"])
_LIMITED = {
    "security.login": _by_address(views.login),
    "security.verify": _by_address(views.verify),
    "security.forgot_password": _by_address(views.forgot_password),
    "security.reset_password": _by_address(views.reset_password),
    "security.change_password": _by_address(views.change_password),
}


@limiter.request_filter
def _is_unlimited() -> bool:
    """Let the limiter pass every other request at once: it would look for limits of a page that has none."""
    return request.endpoint not in _LIMITED


def init_app(app: Flask, settings: Settings) -> None:
    """Bind Flask-Security, switched down to signing in and passwords."""
    app.config.update(flask_config(settings))
    security.init_app(
        app, datastore,
        login_form=SignInForm, verify_form=ConfirmForm, change_password_form=ChangeForm, forgot_password_form=ForgotForm,
        reset_password_form=ResetForm,
    )  # fmt: skip
    security.principal.identity_loaders.clear()  # guards ask who is there; files and health checks need not look it up
    security.want_json(lambda request: False)
    app.view_functions.update(_LIMITED)
    security.login_context_processor(_lock_rules)
    password_changed.connect(_after_change, app)
    password_reset.connect(_after_reset, app)


def flask_config(settings: Settings) -> dict[str, object]:
    """Translate our settings into Flask-Security's."""
    return {
        "SECURITY_PASSWORD_SALT": settings.secret_key,
        "SECURITY_PASSWORD_HASH": "argon2",
        # OWASP Password Storage Cheat Sheet: 19 MiB, 2 rounds, 1 lane. Many people can sign in side by side on a small machine.
        "SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS": {
            "argon2__memory_cost": 19_456, "argon2__rounds": 2, "argon2__parallelism": 1,
        },
        # A reset link carries a hash of the password's argon2 hash, which is random enough for a fast one; the default would
        # take ten times as long as all the rest of "forgot password", and so tell accounts from unknown addresses.
        "SECURITY_HASHING_SCHEMES": ["hex_sha256"],
        "SECURITY_DEPRECATED_HASHING_SCHEMES": [],
        "SECURITY_PASSWORD_LENGTH_MIN": PASSWORD_LENGTH,
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_USER_IDENTITY_ATTRIBUTES": [{"email": {"mapper": _identity, "case_insensitive": False}}],
        "SECURITY_LOGIN_URL": "/sign-in",
        "SECURITY_LOGOUT_URL": "/sign-out",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_LOGOUT_CSRF": True,
        "SECURITY_RECOVERABLE": True,
        "SECURITY_RESET_URL": RESET_PATH,
        "SECURITY_RESET_PASSWORD_WITHIN": timedelta(hours=RESET_HOURS),
        "SECURITY_AUTO_LOGIN_AFTER_RESET": False,
        "SECURITY_CHANGEABLE": True,
        "SECURITY_CHANGE_URL": "/account/password/change",
        "SECURITY_POST_CHANGE_VIEW": "account.security",
        "SECURITY_VERIFY_URL": "/account/verify",
        "SECURITY_POST_VERIFY_VIEW": "account.security",
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_STATIC_FOLDER": None,
        # Names without values. Flask-Security's own default says True, which Werkzeug writes out: "no-store=True" says nothing.
        "SECURITY_CACHE_CONTROL": {"private": None, "no-store": None},
        # The outbox renders our own templates.
        "SECURITY_EMAIL_PLAINTEXT": False,
        "SECURITY_EMAIL_HTML": False,
        # No cookie that outlives the session is ever set; should one be, it is as careful as the session's.
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SECURE": settings.is_https,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_DURATION": timedelta(hours=settings.session_idle_hours),
        **{f"SECURITY_MSG_{name}": message for name, message in MESSAGES.items()},
    }  # fmt: skip


def _identity(text: str) -> str | None:
    try:
        return people.normalize_email(text)
    except Invalid:
        return None


def _lock_rules() -> dict[str, object]:
    """What the sign-in page says about the lock: the rule, never the state of an account."""
    settings = current_settings()
    return {"lock_minutes": settings.sign_in_lock_minutes, "lock_failures": settings.sign_in_failures}


def _after_change(app: Flask, user: User, **_: object) -> None:
    """Flask-Security has signed this device in anew; all others are out."""
    now = clock.now()
    with transaction():
        sessions.end_others(user, session_cookie.current_token(), now=now)
        audit.record("password.changed", subject_type="user", subject_id=user.id, actor=user, now=now)


def _after_reset(app: Flask, user: User, **_: object) -> None:
    now = clock.now()
    with transaction():
        sessions.end_all(user, now=now)
        throttle.unlock(user.id)
        audit.record("password.reset", subject_type="user", subject_id=user.id, actor=user, now=now)


def _reset_link(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """The link that lets the reader choose a password, made at this second."""
    person = db.session.get_one(User, delivery.user_id)
    token = generate_reset_password_token(person)  # type: ignore[no-untyped-call]
    return {"reset_url": f"{current_settings().base_url}{RESET_PATH}/{token}"}


def _reset_shared(notice: Notice) -> Mapping[str, Any]:
    return {"reset_hours": RESET_HOURS}


def _about_password(notice: Notice, delivery: Due, now: datetime) -> Mapping[str, Any]:
    """When the password was changed, on the reader's clock, and where to reset it."""
    person = db.session.get_one(User, delivery.user_id)
    settings = current_settings()
    zone = person.time_zone or settings.default_time_zone
    return {"changed": exact_time(notice.created_at, zone), "forgot_url": f"{settings.base_url}{RESET_PATH}"}


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
    register(Kind(RESET, label="Password reset", shared=_reset_shared, personal=_reset_link))
    register(Kind(STAFF_INVITATION, label="Invitation of staff", shared=_reset_shared, personal=_reset_link))
    register(Kind(CHANGED, label="Password changed", personal=_about_password))
