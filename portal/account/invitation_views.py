"""The page an invitation leads to. Opening it changes nothing, since mail scanners open links too; sending its form does."""

import logging

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_security.utils import login_user

from portal import clock
from portal.account import invitations
from portal.account.forms import AcceptForm, OneButton
from portal.account.models import Invitation
from portal.account.passwords import HELP as PASSWORD_HELP
from portal.account.signing_in import check_password
from portal.database import transaction
from portal.errors import Busy, Conflict, Invalid, NotFound
from portal.web.forms import refuse
from portal.web.guards import protect, public

log = logging.getLogger(__name__)
blueprint = Blueprint("invitations", __name__, url_prefix="/account/invitations")
protect(blueprint, public)


@blueprint.route("/<token>", methods=["GET", "POST"])
def accept(token: str) -> ResponseReturnValue:
    """Show who is invited to which contract; a POST accepts, and signs in whoever chose a password."""
    try:
        invitation = invitations.find_open(token, now=clock.now())
    except (Conflict, NotFound) as error:
        return _closed(error)
    _note_opened(invitation)
    if invitation.contact.user.password is not None:
        return _accept_with_account(token, invitation)
    if current_user.is_authenticated:
        return render_template("account/invitation_other.html", invitation=invitation)
    form = AcceptForm(data={"name": invitation.contact.user.name})
    if form.validate_on_submit():
        try:
            password_hash = check_password(form.password.data or "", invitation.contact.user)
            with transaction():
                person = invitations.accept(token, password_hash=password_hash, name=form.name.data, now=clock.now())
                login_user(person, authn_via=["invitation"])
        except Invalid as error:
            refuse(form, error)
        except (Conflict, NotFound) as error:
            return _closed(error)
        else:
            flash("Welcome. Your account is ready.", "success")
            return redirect(url_for("home.index"))
    return render_template("account/invitation.html", invitation=invitation, form=form, password_help=PASSWORD_HELP)


def _note_opened(invitation: Invitation) -> None:
    """Remember that the link was opened, which says no more than that; the page is shown even if that cannot be written just now."""
    if request.method != "GET" or invitation.opened_at is not None:
        return
    invitation_id = invitation.id
    try:
        with transaction():
            invitations.note_opened(invitation_id, now=clock.now())
    except Busy:
        log.warning("the opening of an invitation could not be written", exc_info=True)


def _accept_with_account(token: str, invitation: Invitation) -> ResponseReturnValue:
    """Somebody who has a password takes the seat signed in; the link alone is no way into an account that exists."""
    contact = invitation.contact
    if not current_user.is_authenticated:
        return render_template("account/invitation_sign_in.html", invitation=invitation, next_path=request.path)
    if current_user.id != contact.user_id:
        return render_template("account/invitation_other.html", invitation=invitation)
    form = OneButton()
    if form.validate_on_submit():
        try:
            with transaction():
                invitations.accept(token, password_hash=None, name=None, now=clock.now())
        except (Conflict, NotFound) as error:
            return _closed(error)
        flash("You have taken the seat.", "success")
        return redirect(url_for("home.index"))
    return render_template("account/invitation_confirm.html", invitation=invitation, form=form)


def _closed(error: Conflict | NotFound) -> ResponseReturnValue:
    code = 404 if isinstance(error, NotFound) else 410
    return render_template("account/invitation_closed.html", message=str(error)), code
