"""The terms of the beta programme, for release managers."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.beta import terms
from portal.beta.forms import PublishTerms
from portal.database import transaction
from portal.errors import PortalError
from portal.products.catalog import all_products, find_product
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff

blueprint = Blueprint("beta_staff", __name__, url_prefix="/staff/beta")
protect(blueprint, staff("publisher"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Every product with the terms that count now."""
    return render_template("beta/staff_index.html", products=all_products(), current=terms.current_by_product())


@blueprint.route("/<product>/terms", methods=["GET", "POST"])
@needs_fresh_sign_in
def publish_terms(product: str) -> ResponseReturnValue:
    """Write the next version of a product's terms, starting from the current one."""
    offered = find_product(product)
    current = terms.current(offered.id)
    form = PublishTerms(text=current.text if current else "")
    if form.validate_on_submit():
        try:
            with transaction():
                published = terms.publish(find_product(product), form.text.data or "", actor=current_user, now=clock.now())
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"Version {published.version} of the beta terms of {offered.name} is published.", "success")
            return redirect(url_for("beta_staff.index"))
    return render_template("beta/staff_terms.html", product=offered, current=current, form=form)
