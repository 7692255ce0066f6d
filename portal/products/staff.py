"""Products, for administrators."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.database import transaction
from portal.errors import PortalError
from portal.products import catalog
from portal.products.forms import ACCESS, EditProduct, NewProduct
from portal.products.models import StableAccess
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff

blueprint = Blueprint("products_staff", __name__, url_prefix="/staff/products")
protect(blueprint, staff("admin"))


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return render_template("products/index.html", products=catalog.all_products(), access=ACCESS)


@blueprint.route("/new", methods=["GET", "POST"])
@needs_fresh_sign_in
def new() -> ResponseReturnValue:
    form = NewProduct()
    if form.validate_on_submit():
        try:
            with transaction():
                product = catalog.create_product(
                    form.slug.data or "",
                    form.name.data or "",
                    summary=form.summary.data or "",
                    stable_access=StableAccess(form.stable_access.data),
                    signing_key=form.signing_key.data or "",
                    actor=current_user,
                    now=clock.now(),
                )
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{product.name} is added. Contracts and releases can name it now.", "success")
            return redirect(url_for("products_staff.index"))
    return render_template("products/edit.html", form=form, product=None), 400 if form.errors else 200


@blueprint.route("/<slug>/", methods=["GET", "POST"])
@needs_fresh_sign_in
def edit(slug: str) -> ResponseReturnValue:
    product = catalog.find_product(slug)
    form = EditProduct(obj=product)
    if form.validate_on_submit():
        try:
            with transaction():
                catalog.edit_product(
                    slug,
                    name=form.name.data or "",
                    summary=form.summary.data or "",
                    stable_access=StableAccess(form.stable_access.data),
                    signing_key=form.signing_key.data or "",
                    actor=current_user,
                    now=clock.now(),
                )
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{product.name} is saved.", "success")
            return redirect(url_for("products_staff.index"))
    return render_template("products/edit.html", form=form, product=product), 400 if form.errors else 200
