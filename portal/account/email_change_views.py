"""The pages of a change of address: asking for it, and the links that both addresses get.

Opening a link changes nothing, since mail scanners open links too; sending its form does. A link is an authority of its own: whoever
reads mail at the address need not be signed in there.
"""

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import email_changes
from portal.account.email_changes import State
from portal.account.forms import AddressChangeForm, OneButton
from portal.account.sign_in_forms import note_success
from portal.account.views import person
from portal.database import transaction
from portal.errors import PortalError
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import guarded_by, protect, public, signed_in

blueprint = Blueprint("email_changes", __name__, url_prefix="/account/email")
protect(blueprint, signed_in)


@blueprint.route("/", methods=["GET", "POST"])
@needs_fresh_sign_in
def ask() -> ResponseReturnValue:
    form = AddressChangeForm()
    if form.validate_on_submit():
        try:
            with transaction():
                email_changes.ask(person(), form.email.data or "", now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            return redirect(url_for(".ask"))
    waiting = email_changes.pending(person(), clock.now())
    page = render_template("account/email.html", form=form, waiting=waiting, person=person(), hours=_hours())
    return page, 422 if form.errors else 200


@blueprint.post("/cancel")
def cancel() -> ResponseReturnValue:
    with transaction():
        email_changes.cancel(person(), now=clock.now())
    flash("The change is cancelled. Your address stays as it is.", "success")
    return redirect(url_for(".ask"))


@blueprint.route("/confirm/<token>", methods=["GET", "POST"])
@guarded_by(public)
def answer(token: str) -> ResponseReturnValue:
    """Show what a link of a mail confirms; a POST confirms it, or cancels the change."""
    asked = email_changes.find(token, now=clock.now())
    form = OneButton()
    if form.validate_on_submit():
        note_success()
        with transaction():
            if request.form.get("answer") == "refuse":
                email_changes.refuse(token, now=clock.now())
            else:
                email_changes.confirm(token, now=clock.now())
        return redirect(url_for(".answer", token=token))
    gone = asked.state in {State.CANCELLED, State.EXPIRED}
    page = render_template("account/email_answer.html", asked=asked, change=asked.change, state=asked.state.name, form=form)
    response = make_response(page, 410 if gone else 200)
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _hours() -> int:
    return int(email_changes.LASTS.total_seconds() // 3600)
