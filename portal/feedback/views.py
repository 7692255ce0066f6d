"""The board: subscribers find, read and vote."""

from collections.abc import Callable
from typing import Any, cast

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.account.entitlements import explain
from portal.account.models import User
from portal.database import transaction
from portal.feedback import access, attachments, board, edits, merging, reading, search, votes
from portal.feedback.access import ReadOnly, Viewer
from portal.feedback.forms import CommentForm
from portal.feedback.keeping_views import Desk, limits
from portal.feedback.models import ItemKind, Status
from portal.feedback.paging import Place
from portal.feedback.writing_models import DraftPurpose
from portal.products.models import Product
from portal.web.errors import refused
from portal.web.guards import holds_role, protect, signed_in
from portal.web.redirects import safe_next

blueprint = Blueprint("feedback", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)


def me() -> User:
    return cast(User, current_user._get_current_object())


@blueprint.app_errorhandler(ReadOnly)
def only_reads(error: ReadOnly) -> ResponseReturnValue:
    """Say why somebody who reads the board cannot write on it."""
    reason, who = explain(error.decision) if error.decision else (str(error), "Staff answer from the inbox of the staff pages.")
    return refused(
        "You can read the feedback, but not add to it", reason, who, action_url=url_for("feedback.index"), action_label="Read the feedback"
    )


def refuse_reader(person: User) -> ResponseReturnValue:
    """Say why somebody may not even read the board."""
    reason, who = explain(access.refusal(person, clock.now()))
    return refused("Feedback is part of priority support", reason, who)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List what the reader may see."""
    now = clock.now()
    viewer = access.viewer_of(me(), now)
    if not viewer.may_read:
        return refuse_reader(viewer.person)
    products = access.products_of(viewer)
    wanted = _read_filter(products)
    page, counts = board.read(viewer, wanted, Place(request.args.get("after"), request.args.get("before")), now=now)
    return render_template(
        "feedback/index.html",
        viewer=viewer,
        products=products,
        wanted=wanted,
        page=page,
        counts=counts.by_status,
        total=counts.total,
        more=counts.more,
        our_votes=board.count_our_votes(viewer),
        statuses=list(Status),
        betas=board.betas_of(viewer),
        link=_linker(products, wanted),
        **standing_of(viewer),
    )


def _read_filter(products: list[Product]) -> board.Filter:
    """Read the address's filters. What means nothing is left out: a link somebody kept must not become an error."""
    slug = request.args.get("product")
    return board.Filter(
        search=read_search(),
        product_id=next((product.id for product in products if product.slug == slug), None),
        status=request.args.get("status", type=Status),
        kind=request.args.get("kind", type=ItemKind),
        beta=request.args.get("beta", "").replace("\0", "")[:60],
        scope=request.args.get("show", board.Scope.ALL, type=board.Scope),
        sort=request.args.get("sort", board.Sort.CONTRACTS, type=board.Sort),
    )


def read_search() -> str:
    """Return what is searched for: the words in the address, on one line."""
    return " ".join(request.args.get("q", "")[: search.TEXT_LIMIT].replace("\0", " ").split())


def _linker(products: list[Product], wanted: board.Filter) -> Callable[..., str]:
    """Return what makes an address of the list with some filters changed; the place in it is not kept."""
    slug = next((product.slug for product in products if product.id == wanted.product_id), None)
    current: dict[str, str | None] = {
        "q": wanted.search or None,
        "product": slug,
        "status": wanted.status,
        "kind": wanted.kind,
        "beta": wanted.beta or None,
        "show": wanted.scope if wanted.scope is not board.Scope.ALL else None,
        "sort": wanted.sort if wanted.sort is not board.Sort.CONTRACTS else None,
    }
    return lambda **changes: url_for("feedback.index", **{**current, **changes})


def standing_of(viewer: Viewer) -> dict[str, Any]:
    """What the page tells those who only read, and whether it leads product staff to their inbox."""
    lapse = next(iter(viewer.lapses.values()), None)
    return {
        "lapse": explain(lapse) if lapse is not None else None,
        "may_write_somewhere": bool(viewer.contracts),
        "in_triage": viewer.staff and holds_role("product")(),
    }


@blueprint.get("/<int:item_id>/")
def item(item_id: int) -> ResponseReturnValue:
    """Show one item. The address of one that was merged leads on to where it is now."""
    person = me()
    viewer = access.viewer_of(person, clock.now())
    if not viewer.may_read:
        return refuse_reader(person)
    found = access.find_item(viewer, item_id)
    further = merging.leads_to(viewer, found)
    if further is not None:
        flash(f"{found.kind.capitalize()} {item_id} was merged into this one. Its votes and comments are here.", "info")
        return redirect(url_for(".item", item_id=further))
    desk = Desk.returned_to(DraftPurpose.COMMENT, item_id, person)
    form = CommentForm(formdata=None, body=desk.fields.get("body", ""))
    return show_item(item_id, form, desk)


def show_item(item_id: int, form: CommentForm, desk: Desk, *, previewed: bool = False, code: int = 200) -> ResponseReturnValue:
    """Show one item with the form for a comment on it."""
    now = clock.now()
    viewer = access.viewer_of(me(), now)
    if not viewer.may_read:
        return refuse_reader(viewer.person)
    seen = reading.read(viewer, item_id, now=now, comments_before=request.args.get("before", type=int))
    lapse = viewer.lapses.get(seen.item.product_id)
    form.draft.raw_data, form.draft.data = None, desk.token or ""
    page = render_template(
        "feedback/item.html",
        viewer=viewer,
        reading=seen,
        item=seen.item,
        form=form,
        desk=desk,
        limits=limits(),
        previewed=previewed,
        files=attachments.shown_to(viewer, [item_id, *(one.item.id for one in seen.merged)]),
        edited=None if lapse else edits.latest(item_id),
        may_edit=edits.may_edit(viewer, seen.item) and (not viewer.staff or holds_role("product")()),
        **{**standing_of(viewer), "lapse": explain(lapse) if lapse is not None else None},
    )
    return page, code


@blueprint.post("/<int:item_id>/vote")
def vote(item_id: int) -> ResponseReturnValue:
    """Give or withdraw the vote of the person's contract; `wanted` is "no" to withdraw. Twice is the same as once."""
    person, now = me(), clock.now()
    act = votes.withdraw if request.form.get("wanted") == "no" else votes.cast
    with transaction():
        act(access.viewer_of(person, now), item_id, now=now)
    return redirect(safe_next(request.form.get("next"), url_for(".item", item_id=item_id)))
