"""Betas, behind the gate."""

from datetime import datetime
from http import HTTPStatus

from flask import Blueprint, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.exceptions import HTTPException, Unauthorized

from portal import clock
from portal.account.entitlements import Benefit, Decision, decide_for_any, explain
from portal.beta import access, terms
from portal.beta.forms import AcceptTerms
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict
from portal.products.catalog import find_product
from portal.products.models import Product
from portal.releases import checking
from portal.releases.builds import find_file
from portal.releases.catalog import find_visible, newest_stable
from portal.releases.gate import gate
from portal.releases.lineage import final_of
from portal.releases.models import Channel, Release, ReleaseState
from portal.releases.sending import Caller, identify, refuse, say, send, send_signature
from portal.releases.ways_out import way_out
from portal.web.guards import guarded_by, protect, public, signed_in

blueprint = Blueprint("beta", __name__, url_prefix="/beta")
protect(blueprint, signed_in)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """The betas of all products that are open to the reader."""
    now = clock.now()
    products = access.open_products(current_user, now)
    stable = newest_stable()
    if not products:
        decision = decide_for_any(current_user, Benefit.BETAS, now)
        if not decision.allowed:
            reason, who_can_fix = explain(decision)
            page = render_template("beta/closed.html", reason_text=reason, who_can_fix=who_can_fix, stable=list(stable.values()))
            return page, HTTPStatus.FORBIDDEN
    betas = access.current_betas(products, stable)
    zones = access.zones_of(current_user, now)
    return render_template(
        "beta/index.html",
        betas=betas,
        expired={beta.id for beta in betas if access.has_expired(beta, zones.get(beta.product_id, _zone(None)), now)},
        shipped=[stable[product.id] for product in products if product.id in stable],
    )


@blueprint.get("/<product>/<version>/")
def release(product: str, version: str) -> ResponseReturnValue:
    """One beta: its terms, builds, checks and notes."""
    now = clock.now()
    offered, decision = _enter(product, now)
    beta = find_visible(product, version, Channel.BETA)
    if beta.version != version:
        return redirect(url_for("beta.release", product=product, version=beta.version), HTTPStatus.MOVED_PERMANENTLY)
    if beta.state is ReleaseState.WITHDRAWN:
        safe = way_out(beta, clock.civil_date(now, _zone(access.party_of(decision))))
        return render_template("beta/withdrawn.html", release=beta, product=offered, final=final_of(beta), safe=safe), HTTPStatus.GONE
    return _show(beta, decision, now, AcceptTerms())


@blueprint.post("/<product>/<version>/")
def accept_terms(product: str, version: str) -> ResponseReturnValue:
    """Accept the terms of the beta's product, on the beta's page."""
    now = clock.now()
    offered, decision = _enter(product, now)
    beta = find_visible(product, version, Channel.BETA)
    form = AcceptTerms()
    current = terms.current(offered.id)
    if decision.contract_id is not None and current is not None:
        if not form.validate():
            return _show(beta, decision, now, form)
        read = form.terms_version.data or str(current.version)
        try:
            with transaction():
                terms.accept(current_user, decision.contract_id, offered.id, read, now=now)
        except Conflict as overtaken:
            form.accept_terms.errors = [str(overtaken)]
            return _show(beta, decision, now, form)
    return redirect(url_for("beta.release", product=product, version=beta.version), HTTPStatus.SEE_OTHER)


@blueprint.get("/<product>/terms/<int(max=2147483647):number>/")
def read_terms(product: str, number: int) -> ResponseReturnValue:
    """One version of a product's beta terms, for whoever may have its betas."""
    offered, _ = _enter(product, clock.now())
    current = terms.current(offered.id)
    return render_template("beta/terms.html", product=offered, terms=terms.find(offered.id, number), current=current)


@blueprint.get("/<product>/<version>/download/<filename>")
@guarded_by(public)
def download(product: str, version: str, filename: str) -> ResponseReturnValue:
    """The bytes of a build, to a session or a personal token. The gate is asked at every request, so at each range too."""
    now = clock.now()
    caller = identify(now)
    if caller.person is None:
        raise Unauthorized
    offered = find_product(product)
    decision = gate(caller.person, offered, now, contact_id=caller.contact_id)
    if not decision.allowed:
        return _refused(offered, decision, caller)
    beta = find_visible(product, version, Channel.BETA)
    build, is_signature = find_file(beta, filename)
    if beta.state is ReleaseState.WITHDRAWN:
        return say(caller, HTTPStatus.GONE, "This beta was withdrawn", beta.withdrawn_reason or "")
    if access.has_expired(beta, _zone(access.party_of(decision)), now):
        return say(caller, HTTPStatus.GONE, "This beta has expired", "It no longer runs. Take a newer version from the portal.")
    if terms.needs_acceptance(caller.person, decision.contract_id, offered.id):
        page = url_for("beta.release", product=product, version=beta.version)
        if not caller.uses_token:
            return redirect(page)
        where = f"Do that once, here: {current_settings().base_url}{page}"
        return say(caller, HTTPStatus.FORBIDDEN, "Accept the beta terms first", where)
    if is_signature:
        return send_signature(build)
    return send(build, caller, contract_id=decision.contract_id)


def _enter(slug: str, now: datetime) -> tuple[Product, Decision]:
    """Let the reader pass the gate of a product, or end the request with the reason: the same for any version, known or not.

    Raises NotFound for an unknown product.
    """
    product = find_product(slug)
    decision = gate(current_user, product, now)
    if not decision.allowed:
        raise HTTPException(response=make_response(_refused(product, decision, Caller(current_user))))
    return product, decision


def _refused(product: Product, decision: Decision, caller: Caller) -> ResponseReturnValue:
    title = f"The betas of {product.name} are not open to you"
    return refuse(caller, title, *explain(decision))


def _show(beta: Release, decision: Decision, now: datetime, form: AcceptTerms) -> ResponseReturnValue:
    party = access.party_of(decision)
    current = terms.current(beta.product_id) if party else None
    accepted = terms.acceptance(current_user, current) if current else None
    page = render_template(
        "beta/release.html",
        release=beta,
        product=beta.product,
        final=final_of(beta),
        party=party,
        terms=current,
        acceptance=accepted,
        form=form,
        expired=access.has_expired(beta, _zone(party), now),
        downloadable=current is None or accepted is not None,
        lines=checking.lines_by_build(beta, current_settings().base_url),
    )
    return page, HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK


def _zone(party: access.Party | None) -> str:
    """The calendar that says whether a beta has expired: the contract's, for staff the portal's."""
    return party.time_zone if party else current_settings().default_time_zone
