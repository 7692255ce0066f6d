"""Flask-Security, with the gaps closed that it leaves open: throttling, mail through the outbox, sessions that end.

Like a view, this module is an edge: Flask-Security's views never commit what a refused or "forgot" request writes, so the
hooks they call do it, in a `transaction()` of their own.
"""

from datetime import timedelta
from typing import Any

from flask import Flask, request
from flask_login import current_user, user_logged_in
from flask_security import Security, SQLAlchemyUserDatastore, password_changed, password_reset
from flask_security.mail_util import EmailValidateException, MailUtil
from flask_security.password_util import PasswordUtil
from flask_security.utils import get_message, hash_password

from portal import audit, clock, database
from portal.account import email_changes, known_devices, passwords, people, security_mail, session_cookie, sessions, throttle
from portal.account.models import Role, User
from portal.account.security_mail import RESET_HOURS, RESET_PATH
from portal.account.sign_in_forms import ChangeForm, ForgotForm, ResetForm, SignInForm, note_success, try_succeeded
from portal.config import Settings, current_settings
from portal.database import db, transaction
from portal.errors import Invalid
from portal.web import limits

LONGEST_NORMALISED = 1_000
# What people are told instead of Flask-Security's mails, by its templates: subject, and what happened.
TOLD = {
    "security/email/change_notice": (
        "Your password was changed", "The password of your account was changed. All other devices were signed out.",
    ),
    "security/email/reset_notice": (
        "Your password was changed", "A new password was chosen for your account by a link from a mail. All devices were signed out.",
    ),
}  # fmt: skip
# The count that all failed tries have in common, and the forms whose POST is a try.
SCOPE = "sign-in"
TRIES = {
    "security.login",
    "confirming.ask",
    "confirming.by_passkey",
    "security.forgot_password",
    "security.reset_password",
    "security.change_password",
    "invitations.accept",
    "email_changes.answer",
    "second_step.ask",
    "second_step.prove",
    "second_step.by_passkey",
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
    "PASSWORD_INVALID_LENGTH": (f"Choose a password of %(length)s characters or more, {passwords.LONGEST} at most.", "error"),
    "PASSWORD_IS_THE_SAME": ("That is the password you have now. Choose another one.", "error"),
    "PASSWORD_NOT_PROVIDED": ("Enter a password.", "error"),
    "RETYPE_PASSWORD_MISMATCH": ("The two entries differ. Type the new password again.", "error"),
    "INVALID_PASSWORD": ("That is not your password. Check it, and enter it again.", "error"),
    "EMAIL_NOT_PROVIDED": ("Enter your email address.", "error"),
    "INVALID_EMAIL_ADDRESS": ("This is no complete email address. Write it like name@example.org.", "error"),
    "UNAUTHENTICATED": ("Sign in to go on.", "info"),
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
        """Tell the person what `template` stands for; our words replace body, html and subject.

        Commits, together with a changed password that still waits in the session: Flask-Security does not.
        """
        person_id = context["user"].id
        with transaction():
            security_mail.tell(person_id, *TOLD[template], now=clock.now())

    def normalize(self, email: str) -> str:
        """Return the address as it is stored. Raises EmailValidateException for what is no address."""
        try:
            return people.normalize_email(email)
        except Invalid:
            raise EmailValidateException(get_message("INVALID_EMAIL_ADDRESS")[0]) from None

    def validate(self, email: str) -> str:
        return self.normalize(email)


class Passwords(PasswordUtil):
    """Says what a good password is, and normalises what people type (NIST SP 800-63B, 3.1.1.2), unless it is so long that doing so
    would keep a processor busy."""

    def normalize(self, password: str) -> str:
        return super().normalize(password) if len(password) <= LONGEST_NORMALISED else password

    def validate(self, password: str, is_register: bool, **who: Any) -> tuple[list[str] | None, str]:
        """Return what is wrong with a new password (None: nothing), and the password as it is to be hashed."""
        errors, normalized = super().validate(password, is_register, **who)
        if errors:
            return errors, normalized
        weakness = passwords.weakness(normalized, passwords.surroundings(who.get("user")))
        return [weakness] if weakness else None, normalized


security = Security(mail_util_cls=OutboxMail, password_util_cls=Passwords)


def check_password(password: str, person: User) -> str:
    """Return the hash of a new password. Raises Invalid (field `password`) for one that is too short, or easy to guess."""
    errors, normalized = security.password_util.validate(password, False, user=person)
    if errors:
        raise Invalid(str(errors[0]), "password")
    return str(hash_password(normalized))


def _is_try() -> bool:
    return request.method == "POST" and request.endpoint in TRIES


def _count_try() -> None:
    """Count a try before it is made, whoever it is for; refuse it when its address, or all together, have made too many.

    Ends the request with 429 then. What succeeds is given back when the answer is ready.
    """
    if not _is_try():
        return
    settings = current_settings()
    if not limits.take(SCOPE, settings.sign_in_limit):
        raise limits.refuse("Too many tries", *_wait(settings.sign_in_limit, None))
    if limits.is_spent(SCOPE, settings.sign_in_limit_overall, limits.EVERYBODY) and not _is_known_here():
        raise limits.refuse("Too many tries", *_wait(settings.sign_in_limit_overall, limits.EVERYBODY))
    limits.take(SCOPE, settings.sign_in_limit_overall, limits.EVERYBODY)


def _is_known_here() -> bool:
    """Whether this device was used before by whoever is signing in: guessers cannot keep its people out."""
    if current_user.is_authenticated:
        return True
    email = request.form.get("email")
    return known_devices.is_known(session_cookie.device_token(), email if email is None else _identity(email) or "")


def _wait(limit: str, who: str | None) -> tuple[str, int]:
    seconds = limits.seconds_left(SCOPE, limit, who)
    return f"So many failed that we take no more for now. Wait {seconds} seconds, then try again.", seconds


def _give_back(response: Any) -> Any:
    if _is_try() and try_succeeded():
        settings = current_settings()
        limits.give_back(SCOPE, settings.sign_in_limit)
        limits.give_back(SCOPE, settings.sign_in_limit_overall, limits.EVERYBODY)
    return response


def init_app(app: Flask, settings: Settings) -> None:
    """Bind Flask-Security, switched down to signing in and passwords."""
    app.config.update(flask_config(settings))
    security.init_app(
        app, datastore,
        login_form=SignInForm, change_password_form=ChangeForm, forgot_password_form=ForgotForm,
        reset_password_form=ResetForm,
    )  # fmt: skip
    security.principal.identity_loaders.clear()  # guards ask who is there; files and health checks need not look it up
    security.want_json(lambda request: False)
    app.before_request(_count_try)
    app.after_request(_give_back)
    security.login_context_processor(_lock_rules)
    for explains in (security.change_password_context_processor, security.reset_password_context_processor):
        explains(lambda: {"password_help": passwords.HELP})
    password_changed.connect(_after_change, app)
    password_reset.connect(_after_reset, app)
    user_logged_in.connect(_after_sign_in, app)


def flask_config(settings: Settings) -> dict[str, object]:
    """Translate our settings into Flask-Security's."""
    return {
        "SECURITY_PASSWORD_SALT": settings.secret_key,
        "SECURITY_PASSWORD_HASH": "argon2",  # nosec B105 # the name of a hash
        # OWASP Password Storage Cheat Sheet: 19 MiB, 2 rounds, 1 lane. Many people can sign in side by side on a small machine.
        "SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS": {
            "argon2__memory_cost": 19_456, "argon2__rounds": 2, "argon2__parallelism": 1,
        },
        # A reset link carries a hash of the password's argon2 hash, which is random enough for a fast one; the default would
        # take ten times as long as all the rest of "forgot password", and so tell accounts from unknown addresses.
        "SECURITY_HASHING_SCHEMES": ["hex_sha256"],
        "SECURITY_DEPRECATED_HASHING_SCHEMES": [],
        "SECURITY_PASSWORD_LENGTH_MIN": passwords.SHORTEST,
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
        # The library's own page for confirming is left out: ours asks for the second factor as well.
        "SECURITY_FRESHNESS": timedelta(-1),
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


def _after_sign_in(app: Flask, user: User, **_: object) -> None:
    note_success()


def _after_change(app: Flask, user: User, **_: object) -> None:
    """Flask-Security has signed this device in anew; all others are out, and nobody else's wish for another address counts."""
    now = clock.now()
    with transaction():
        sessions.end_others(user, session_cookie.current_token(), now=now)
        email_changes.cancel_open(user.id, now=now)
        audit.record("password.changed", subject_type="user", subject_id=user.id, actor=user, now=now)


def _after_reset(app: Flask, user: User, **_: object) -> None:
    now = clock.now()
    with transaction():
        sessions.end_all(user, now=now)
        throttle.unlock(user.id)
        email_changes.cancel_open(user.id, now=now)
        audit.record("password.reset", subject_type="user", subject_id=user.id, actor=user, now=now)
    note_success()
