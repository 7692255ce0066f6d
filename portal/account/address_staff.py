"""Staff correct the address of a customer whose old mailbox is gone, so that nobody could confirm the change there."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import email_changes
from portal.account.contract_forms import CorrectionForm
from portal.account.views import ID, person
from portal.database import transaction
from portal.errors import PortalError
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff

blueprint = Blueprint("addresses_staff", __name__, url_prefix="/staff/customers")
protect(blueprint, staff("accounts"))


@blueprint.route(f"/<{ID}:person_id>/address", methods=["GET", "POST"])
@needs_fresh_sign_in
def correct(person_id: int) -> ResponseReturnValue:
    """Correct the address of a customer whose mailbox is gone, with the reason; never that of a member of staff."""
    found, form = email_changes.find_correctable(person_id), CorrectionForm()
    if form.validate_on_submit() and form.is_right_for(found):
        try:
            with transaction():
                email_changes.correct(person_id, form.email.data or "", form.reason.data or "", actor=person(), now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash("The address is corrected. They were signed out everywhere, and both addresses are told.", "success")
            return redirect(url_for("customers_staff.index", q=found.email))
    return render_template("account/staff/correct_person.html", form=form, found=found)
