"""A person's own account: profile, password and sessions, download tokens."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.account import access_tokens, people, sessions
from portal.account.devices import describe
from portal.account.forms import ProfileForm, TokenForm
from portal.account.models import User
from portal.account.session_cookie import current_session_id, current_token
from portal.config import current_settings
from portal.database import transaction
from portal.errors import PortalError
from portal.web.forms import refuse
from portal.web.guards import protect, signed_in

blueprint = Blueprint("account", __name__, url_prefix="/account")
protect(blueprint, signed_in)
# Ids are 32 bits wide in the database; a longer number names nothing.
ID = "int(max=2147483647)"


def person() -> User:
    """The signed-in person."""
    found: User = current_user._get_current_object()
    return found


@blueprint.route("/", methods=["GET", "POST"])
def profile() -> ResponseReturnValue:
    form = ProfileForm(current_settings().default_time_zone, obj=person())
    if form.validate_on_submit():
        try:
            with transaction():
                people.change_profile(person(), name=form.name.data or "", time_zone=form.time_zone.data)
        except PortalError as error:
            refuse(form, error)
        else:
            flash("Your profile is saved.", "success")
            return redirect(url_for("account.profile"))
    return render_template("account/profile.html", form=form, person=person(), now=clock.now())


@blueprint.get("/security/")
def security() -> ResponseReturnValue:
    return _security_page(_token_form())


def _token_form() -> TokenForm:
    form = TokenForm()
    seats = access_tokens.seats_of(person())
    form.contact_id.choices = {str(seat.id): f"{seat.contract.number}, {seat.contract.product.name}" for seat in seats}
    return form


def _security_page(form: TokenForm, new_token: str | None = None) -> str:
    running = sessions.running(person(), current_settings(), clock.now())
    return render_template(
        "account/security.html",
        form=form,
        new_token=new_token,
        sessions=[(session, describe(session.device)) for session in running],
        current_session_id=current_session_id(),
        tokens=access_tokens.tokens_of(person()),
        settings=current_settings(),
    )


@blueprint.post(f"/security/sessions/<{ID}:session_id>/end")
def end_session(session_id: int) -> ResponseReturnValue:
    with transaction():
        sessions.end_one(person(), session_id, now=clock.now())
    flash("That device is signed out.", "success")
    return redirect(url_for("account.security"))


@blueprint.post("/security/sessions/end-others")
def end_other_sessions() -> ResponseReturnValue:
    with transaction():
        ended = sessions.end_others(person(), current_token(), now=clock.now())
    flash(
        "No other device was signed in." if not ended else f"{ended} other {'device is' if ended == 1 else 'devices are'} signed out.",
        "success",
    )
    return redirect(url_for("account.security"))


@blueprint.post("/security/tokens")
def create_token() -> ResponseReturnValue:
    """Make a download token, and show it on the very answer: it can never be shown again."""
    form = _token_form()
    if form.validate_on_submit():
        try:
            with transaction():
                token = access_tokens.create(form.contact_id.data, form.label.data or "", actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            fresh = _token_form()
            fresh.label.data = ""
            return _security_page(fresh, token)
    return _security_page(form), 422


@blueprint.post(f"/security/tokens/<{ID}:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    with transaction():
        access_tokens.revoke(token_id, actor=person(), now=clock.now())
    flash("The token is revoked. Nothing can be downloaded with it any more.", "success")
    return redirect(url_for("account.security"))
