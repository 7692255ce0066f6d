"""Stable releases, for everybody. Betas are not found here, whether they exist or not."""

from http import HTTPStatus

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import Unauthorized

from portal import clock
from portal.account.entitlements import explain
from portal.config import current_settings
from portal.products.catalog import all_products, find_product
from portal.releases import catalog, checking, lineage, stable_access
from portal.releases.builds import find_file
from portal.releases.gate import gate
from portal.releases.models import Channel, ReleaseState
from portal.releases.sending import identify, refuse, say, send, send_signature
from portal.releases.ways_out import way_out
from portal.web.guards import protect, public

blueprint = Blueprint("releases", __name__, url_prefix="/releases")
protect(blueprint, public)

PAGE = 10


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show each product with its newest stable release."""
    return render_template("releases/index.html", products=all_products(), newest=catalog.newest_stable())


@blueprint.get("/<product>/")
def product(product: str) -> ResponseReturnValue:
    """Show a product's stable releases with their notes, newest first, a page at a time (`below` a version)."""
    found = find_product(product)
    releases = catalog.history(found.id, Channel.STABLE, below=request.args.get("below"), limit=PAGE + 1)
    older = url_for("releases.product", product=found.slug, below=releases[PAGE - 1].version) if len(releases) > PAGE else None
    return render_template("releases/product.html", product=found, releases=releases[:PAGE], older=older, first=not request.args)


@blueprint.get("/<product>/<version>/")
def release(product: str, version: str) -> ResponseReturnValue:
    """Show one stable release, or what became of it. Another spelling of its version leads to the one address it has."""
    found = catalog.find_visible(product, version, Channel.STABLE)
    if found.version != version:
        return redirect(url_for("releases.release", product=product, version=found.version), 301)
    betas = lineage.betas_of(found) if gate(current_user, found.product, clock.now()).allowed else []
    return render_template(
        "releases/release.html",
        release=found,
        betas=betas,
        safe=way_out(found, clock.now().date()),
        lines=checking.lines_by_build(found, current_settings().base_url),
        with_token=checking.needs_token(found, found.product),
    )


@blueprint.get("/<product>/<version>/download/<filename>")
def download(product: str, version: str, filename: str) -> ResponseReturnValue:
    """Send a build of a stable release to whoever the product's setting lets have it, by session or personal token."""
    now = clock.now()
    caller = identify(now)
    found = catalog.find_visible(product, version, Channel.STABLE)
    decision = stable_access.decide_download(caller.person, found.product, now, contact_id=caller.contact_id)
    if not decision.allowed:
        if caller.person is None:
            raise Unauthorized
        title = f"The builds of {found.product.name} are not open to you"
        return refuse(caller, title, *explain(decision))
    build, is_signature = find_file(found, filename)
    if found.state is ReleaseState.WITHDRAWN:
        return say(caller, HTTPStatus.GONE, "This release was withdrawn", found.withdrawn_reason or "")
    if is_signature:
        return send_signature(build)
    return send(build, caller, contract_id=decision.contract_id)
