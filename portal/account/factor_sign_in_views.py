"""The second step of signing in, and signing in by passkey alone.

A right password of somebody with a second factor starts no session. The signed cookie then says who stands at the door and since when,
which opens no page: the person is signed in, under a new session, once the factor was shown. It is worth nothing after a few
minutes, nor once the password is changed or reset.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue, ResponseValue
from flask_login import current_user
from flask_security import UserMixin
from flask_security.tf_plugin import TfPlugin
from flask_security.utils import login_user
from flask_wtf.csrf import generate_csrf

from portal import audit, clock
from portal.account import factors, factors_passkeys, factors_throttle, people
from portal.account.factor_forms import AnswerForm, CodeForm, RecoveryForm
from portal.account.factors import Way
from portal.account.factors_passkeys import Ceremony
from portal.account.models import User
from portal.account.sign_in_forms import WRONG_CODE
from portal.account.signing_in import security
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, Invalid, PortalError
from portal.web.forms import refuse
from portal.web.guards import protect, public
from portal.web.redirects import safe_next

blueprint = Blueprint("second_step", __name__, url_prefix="/sign-in")
protect(blueprint, public)

WITHIN = timedelta(minutes=10)
PENDING = "second_step"
WRONG_RECOVERY = "That is none of your recovery codes, or it was used before. Each works once."
NO_PASSKEY = "We could not sign you in with that passkey. Sign in with your password, or try the passkey again."
TOO_LATE = "Sign in again: the second step was not taken within 10 minutes."


class SecondStep(TfPlugin):
    """Where Flask-Security asks whether a right password is enough."""

    def tf_enter(self, user: UserMixin, remember_me: bool | None, primary_authn_via: str, next_loc: str | None) -> ResponseValue | None:
        """Return None to sign the person in at once, or the way to the second step."""
        if not isinstance(user, User) or not factors.has_factor(user.id):
            return None
        session[PENDING] = {"who": user.fs_uniquifier, "at": int(clock.now().timestamp()), "next": safe_next(next_loc, "")}
        return redirect(url_for("second_step.ask"))


def init_app(app: Flask) -> None:
    """Ask for the second factor. Call it after Flask-Security has been bound."""
    security.two_factor_plugins = SecondStep()
    security.login_context_processor(_passkey_on_sign_in_page)


@blueprint.after_request
def keep_nowhere(response: Response) -> Response:
    """No cache keeps whose password was right."""
    response.headers["Cache-Control"] = "no-store"
    return response


def browser_mark() -> str:
    """What tells this browser's session from others: the secret of its forms."""
    generate_csrf()
    return str(session["csrf_token"])


def ceremony(purpose: str, person: User | None) -> Ceremony:
    return Ceremony(purpose, person.id if person else None, browser_mark())


def passkeys_here() -> bool:
    """Whether this page was opened at the name that passkeys belong to."""
    place = factors_passkeys.site(current_settings())
    return place is not None and urlsplit(place.origin).netloc == request.host


def _passkey_on_sign_in_page() -> dict[str, object]:
    options = None
    if passkeys_here():
        options = factors_passkeys.options_to_ask(ceremony(factors_passkeys.SIGN_IN, None), current_settings(), now=clock.now())
    return {"passkey_options": options, "next_path": safe_next(request.values.get("next"), "")}


def pending() -> User | None:
    """Whoever has given the right password, and not the second factor yet, a short while ago."""
    noted = session.get(PENDING)
    if not noted or clock.now() - datetime.fromtimestamp(noted["at"], UTC) >= WITHIN:
        return None
    return people.find_by_uniquifier(noted["who"])


@blueprint.route("/second-step", methods=["GET", "POST"])
def ask() -> ResponseReturnValue:
    """Ask for a code or a passkey; a POST tries a code."""
    person = pending()
    if person is None:
        return _start_over()
    form = RecoveryForm() if request.args.get("with") == "recovery-code" else CodeForm()
    if not form.validate_on_submit():
        return _page(person, form)
    with transaction():
        way = factors.take_code(person, form.code.data or "", current_settings(), now=clock.now())
        if way is not None and pending() is not None:  # the password may have been reset since
            return _enter(person, way)
    form.code.data = ""
    if factors_throttle.locked_until(person.id, now=clock.now()) is None:
        refuse(form, Invalid(WRONG_RECOVERY if isinstance(form, RecoveryForm) else WRONG_CODE, "code"))
    return _page(person, form)


@blueprint.post("/second-step/passkey")
def prove() -> ResponseReturnValue:
    """Take the answer of one of the person's passkeys."""
    person = pending()
    if person is None:
        return _start_over()
    form = AnswerForm()
    if form.validate_on_submit():
        try:
            with transaction():
                asked = ceremony(factors_passkeys.SECOND, person)
                proof = factors_passkeys.prove(form.answer.data or "", asked, current_settings(), now=clock.now())
                if pending() is None:
                    raise Conflict(TOO_LATE)
                factors.note_use(person, Way.PASSKEY, now=clock.now(), label=proof.label)
                return _enter(person, Way.PASSKEY)
        except PortalError as error:
            note_failure(person)
            refuse(form, error)
    return _page(person, CodeForm(formdata=None), answer_form=form)


@blueprint.post("/passkey")
def by_passkey() -> ResponseReturnValue:
    """Sign in by a passkey that asked for a PIN or a finger: that is two factors in one, and no password is asked."""
    if current_user.is_authenticated:
        return redirect(url_for("home.index"))
    target = safe_next(request.form.get("next"), "")
    form = AnswerForm()
    if form.validate_on_submit():
        try:
            with transaction():
                asked = ceremony(factors_passkeys.SIGN_IN, None)
                proof = factors_passkeys.prove(form.answer.data or "", asked, current_settings(), now=clock.now())
                person = people.find_active(proof.user_id)
                if person is None:
                    raise Invalid(NO_PASSKEY)
                factors.note_use(person, Way.PASSKEY, now=clock.now(), label=proof.label)
                return _enter(person, Way.PASSKEY, target)
        except PortalError:
            note_failure(None)
    flash(NO_PASSKEY, "error")
    return redirect(url_for("security.login", next=target or None))


def _enter(person: User, way: Way, target: str | None = None) -> ResponseReturnValue:
    """Sign the person in, as part of the caller's transaction, and lead on to where they wanted to go."""
    noted = session.pop(PENDING, {})
    login_user(person, authn_via=[way.value])
    return redirect((noted.get("next") if target is None else target) or url_for("home.index"))


def _page(person: User, form: CodeForm | RecoveryForm, answer_form: AnswerForm | None = None) -> str:
    held = factors.factors_of(person.id)
    options = None
    if held.passkeys and passkeys_here():
        options = factors_passkeys.options_to_ask(ceremony(factors_passkeys.SECOND, person), current_settings(), now=clock.now())
    return render_template(
        "security/second_step.html",
        form=form,
        answer_form=answer_form or AnswerForm(formdata=None),
        held=held,
        recovery=isinstance(form, RecoveryForm),
        passkey_options=options,
        locked_until=factors_throttle.locked_until(person.id, now=clock.now()),
        email=person.email,
    )


def _start_over() -> ResponseReturnValue:
    if current_user.is_authenticated:
        return redirect(url_for("home.index"))
    if session.pop(PENDING, None):
        flash(TOO_LATE, "info")
    return redirect(url_for("security.login"))


def note_failure(person: User | None) -> None:
    """Enter a second factor that did not hold into the audit log; nobody is named where the person is not known."""
    with transaction():
        audit.record("factor.failed", subject_type="user", subject_id=person.id if person else None, actor=None, now=clock.now())
