"""Starting over for somebody who has lost all second factors."""

from collections.abc import Collection

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.account import factors, people
from portal.account.forms import OneButton
from portal.account.models import User
from portal.account.views import ID, person
from portal.database import transaction
from portal.errors import Conflict, NotFound
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import holds_role, protect, staff

blueprint = Blueprint("factors_staff", __name__, url_prefix="/staff/factors")
protect(blueprint, staff("accounts"))
_is_admin = holds_role("admin")


@blueprint.route(f"/<{ID}:person_id>/reset", methods=["GET", "POST"])
@needs_fresh_sign_in
def reset(person_id: int) -> ResponseReturnValue:
    """Say what will be removed; a POST removes the second factors of a customer, or, by an admin, of a colleague."""
    found = _find(person_id)
    form = OneButton()
    if form.validate_on_submit():
        try:
            with transaction():
                factors.reset(_find(person_id), actor=person(), now=clock.now())
        except Conflict as error:
            refuse(form, error)
        else:
            flash(f"The second factors of {found.label} are removed. They were signed out everywhere, and told by mail.", "success")
            return redirect(_back(found))
    page = render_template("account/staff/reset_factors.html", form=form, found=found, held=factors.factors_of(found.id), back=_back(found))
    return page, 400 if form.form_errors else 200


@blueprint.app_template_global("holders_of_factors")
def holders_of_factors(user_ids: Collection[int]) -> set[int]:
    """Which of the people on a page have a second factor to be reset."""
    return factors.holders_among(user_ids)


def _find(person_id: int) -> User:
    """Return whom the reader may help. An account manager who could help an admin could become one; nobody helps themselves, whose own
    page asks for the factor itself. Raises NotFound."""
    found = people.find_active(person_id)
    if found is None or found.provisional or found.id == person().id or (found.is_staff and not _is_admin()):
        raise NotFound("There is no such person.")
    return found


def _back(found: User) -> str:
    if found.is_staff:
        return url_for("team_staff.member", person_id=found.id)
    return url_for("customers_staff.index", q=found.email)
