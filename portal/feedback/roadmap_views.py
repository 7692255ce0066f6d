"""The roadmap's page."""

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from portal import clock
from portal.feedback import access, roadmap
from portal.feedback.views import me, refuse_reader, standing_of
from portal.web.guards import protect, signed_in

blueprint = Blueprint("feedback_roadmap", __name__, url_prefix="/feedback/roadmap")
protect(blueprint, signed_in)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show what is planned, in a beta, and shipped lately."""
    now = clock.now()
    viewer = access.viewer_of(me(), now)
    if not viewer.may_read:
        return refuse_reader(viewer.person)
    products = access.products_of(viewer)
    chosen = next((product for product in products if product.slug == request.args.get("product")), None)
    return render_template(
        "feedback/roadmap.html",
        viewer=viewer,
        products=products,
        chosen=chosen,
        sections=roadmap.read(viewer, now, chosen.id if chosen else None),
        lately=roadmap.LATELY.days,
        **standing_of(viewer),
    )
