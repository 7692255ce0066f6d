"""Fresh sign-in: asking people once more who they are before a risky act, and keeping what they had typed for it meanwhile."""

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import factors, factors_passkeys, factors_throttle
from portal.account.factor_forms import AnswerForm
from portal.account.factor_sign_in_views import ceremony, note_failure, passkeys_here
from portal.account.factors import Way
from portal.account.session_cookie import confirm
from portal.account.sign_in_forms import ConfirmForm, note_success
from portal.account.views import person
from portal.config import current_settings
from portal.database import transaction
from portal.errors import PortalError
from portal.web import freshness
from portal.web.guards import protect, signed_in
from portal.web.redirects import safe_next

blueprint = Blueprint("confirming", __name__, url_prefix="/account/verify")
protect(blueprint, signed_in)


def init_app(app: Flask) -> None:
    """Answer forms that are sent too late with the page of this module."""
    freshness.asks_by(_page)


@blueprint.route("", methods=["GET", "POST"])
def ask() -> ResponseReturnValue:
    """Ask for the password, and for a code of somebody who has a second factor; a POST confirms by them."""
    form = ConfirmForm(user=person())
    return _go_on() if form.validate_on_submit() else _page(form)


@blueprint.post("/passkey")
def by_passkey() -> ResponseReturnValue:
    """Confirm by a passkey instead, which is two factors in one."""
    form = AnswerForm()
    if form.validate_on_submit():
        try:
            with transaction():
                asked = ceremony(factors_passkeys.CONFIRM, person())
                proof = factors_passkeys.prove(form.answer.data or "", asked, current_settings(), now=clock.now())
                factors.note_use(person(), Way.PASSKEY, now=clock.now(), label=proof.label)
                confirm()
        except PortalError:
            note_failure(person())
        else:
            note_success()
            return _go_on()
    form = ConfirmForm(user=person())
    form.form_errors.append("We could not use that passkey. Try it again, or take the other way.")
    return _page(form)


def _go_on() -> ResponseReturnValue:
    """Lead back; or show the form that was sent too late, whole, with the button that sends it."""
    kept = freshness.kept()
    if kept is not None:
        return render_template("security/send_kept.html", kept=kept)
    flash("Your sign-in is confirmed.", "success")
    return redirect(_next(url_for("account.security")))


def _page(form: ConfirmForm | None = None) -> ResponseReturnValue:
    held, kept, options = factors.factors_of(person().id), freshness.kept(), None
    if held.passkeys and passkeys_here():
        options = factors_passkeys.options_to_ask(ceremony(factors_passkeys.CONFIRM, person()), current_settings(), now=clock.now())
    return render_template(
        "security/verify.html",
        form=form or ConfirmForm(user=person(), formdata=None),
        held=held,
        locked_until=factors_throttle.locked_until(person().id, now=clock.now()),
        passkey_options=options,
        kept=kept,
        next_path=_next(kept.page if kept else ""),
    )


def _next(default: str) -> str:
    return safe_next(request.values.get("next"), default)
