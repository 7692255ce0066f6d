"""The board: subscribers read, write, vote and comment."""

from collections.abc import Callable
from typing import Any, cast

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.account.entitlements import explain
from portal.account.models import User
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid
from portal.feedback import access, board, reading, votes, writing
from portal.feedback.access import ReadOnly, Viewer
from portal.feedback.forms import CommentForm, ItemForm, read_choice, save
from portal.feedback.models import ItemKind, Severity, Status, Visibility
from portal.feedback.paging import Place
from portal.products.models import Product
from portal.web.errors import refused
from portal.web.guards import holds_role, protect, signed_in
from portal.web.redirects import safe_next

blueprint = Blueprint("feedback", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)


def me() -> User:
    return cast(User, current_user._get_current_object())


@blueprint.errorhandler(ReadOnly)
def only_reads(error: ReadOnly) -> ResponseReturnValue:
    """Say why somebody who reads the board cannot write on it."""
    reason, who = explain(error.decision) if error.decision else (str(error), "Staff answer from the inbox of the staff pages.")
    return refused(
        "You can read the feedback, but not add to it", reason, who, action_url=url_for(".index"), action_label="Read the feedback"
    )


def _refuse(person: User) -> ResponseReturnValue:
    reason, who = explain(access.refusal(person, clock.now()))
    return refused("Feedback is part of priority support", reason, who)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List what the reader may see."""
    now = clock.now()
    viewer = access.viewer_of(me(), now)
    if not viewer.may_read:
        return _refuse(viewer.person)
    products = access.products_of(viewer)
    wanted = _read_filter(products)
    page = board.list_items(viewer, wanted, Place(request.args.get("after"), request.args.get("before")), now=now)
    counts = board.count_by_status(viewer, wanted)
    return render_template(
        "feedback/index.html",
        viewer=viewer,
        products=products,
        wanted=wanted,
        page=page,
        counts=counts,
        total=sum(counts.values()),
        our_votes=board.count_our_votes(viewer),
        statuses=list(Status),
        link=_linker(products, wanted),
        **_standing(viewer),
    )


def _read_filter(products: list[Product]) -> board.Filter:
    """Read the address's filters. What means nothing is left out: a link somebody kept must not become an error."""
    slug = request.args.get("product")
    return board.Filter(
        search=read_search(),
        product_id=next((product.id for product in products if product.slug == slug), None),
        status=request.args.get("status", type=Status),
        kind=request.args.get("kind", type=ItemKind),
        scope=request.args.get("show", board.Scope.ALL, type=board.Scope),
        sort=request.args.get("sort", board.Sort.CONTRACTS, type=board.Sort),
    )


def read_search() -> str:
    """Return what is searched for: the words in the address, on one line."""
    return " ".join(request.args.get("q", "")[: board.SEARCH_LIMIT].replace("\0", " ").split())


def _linker(products: list[Product], wanted: board.Filter) -> Callable[..., str]:
    """Return what makes an address of the list with some filters changed; the place in it is not kept."""
    slug = next((product.slug for product in products if product.id == wanted.product_id), None)
    current: dict[str, str | None] = {
        "q": wanted.search or None,
        "product": slug,
        "status": wanted.status,
        "kind": wanted.kind,
        "show": wanted.scope if wanted.scope is not board.Scope.ALL else None,
        "sort": wanted.sort if wanted.sort is not board.Sort.CONTRACTS else None,
    }
    return lambda **changes: url_for("feedback.index", **{**current, **changes})


def _standing(viewer: Viewer) -> dict[str, Any]:
    """What the page tells those who only read, and whether it leads product staff to their inbox."""
    lapse = next(iter(viewer.lapses.values()), None)
    return {
        "lapse": explain(lapse) if lapse is not None else None,
        "may_write_somewhere": bool(viewer.contracts),
        "in_triage": viewer.staff and holds_role("product")(),
    }


@blueprint.route("/new", methods=["GET", "POST"])
def new() -> ResponseReturnValue:
    """Write feedback. Product, version, kind and title can be filled in by the address."""
    person = me()
    viewer = access.viewer_of(person, clock.now())
    if not viewer.may_read:
        return _refuse(person)
    if not viewer.contracts:
        raise ReadOnly(next(iter(viewer.lapses.values()), None))
    products = [product for product in access.products_of(viewer) if product.id in viewer.contracts]
    form = ItemForm()
    form.offer(products, writing.versions_to_write_about(viewer.contracts), current_settings().vendor_name)
    if request.method == "GET":
        _fill_in(form)
    written: list[int] = []
    if request.method == "POST" and save(form, lambda: written.append(_write(form, person, products))):
        flash("Saved. Your contract votes for it, and the product team reads it next.", "success")
        return redirect(url_for(".item", item_id=written[0]))
    return render_template("feedback/new.html", form=form, products=products), 400 if form.is_submitted() else 200


def _fill_in(form: ItemForm) -> None:
    form.title.data = request.args.get("title", "")[: writing.TITLE_LIMIT]
    offered: dict[str, set[str]] = {
        "product": set(form.products),
        "version": form.versions,
        "kind": {kind.value for kind in ItemKind},
    }
    for name, values in offered.items():
        if request.args.get(name) in values:
            form[name].data = request.args[name]


def _write(form: ItemForm, person: User, products: list[Product]) -> int:
    slug = form.product.data or (products[0].slug if len(products) == 1 else "")
    kind = read_choice(ItemKind, form.kind.data or ItemKind.IDEA, "kind")
    visibility = read_choice(Visibility, form.visibility.data or Visibility.SUBSCRIBERS, "visibility")
    severity = read_choice(Severity, form.severity.data, "severity") if form.severity.data else None
    now = clock.now()
    with transaction():
        product = next((product for product in products if product.slug == slug), None)
        if product is None:
            raise Invalid("Choose the product it is about.", "product")
        item = writing.write(
            access.viewer_of(person, now),
            product=product,
            kind=kind,
            title=form.title.data or "",
            body=form.body.data or "",
            visibility=visibility,
            severity=severity,
            version=form.version.data or "",
            now=now,
        )
        return item.id


@blueprint.get("/<int:item_id>/")
def item(item_id: int) -> ResponseReturnValue:
    """Show one item."""
    return _show(item_id, CommentForm())


def _show(item_id: int, form: CommentForm, code: int = 200) -> ResponseReturnValue:
    now = clock.now()
    viewer = access.viewer_of(me(), now)
    if not viewer.may_read:
        return _refuse(viewer.person)
    seen = reading.read(viewer, item_id, now=now, comments_before=request.args.get("before", type=int))
    lapse = viewer.lapses.get(seen.item.product_id)
    page = render_template(
        "feedback/item.html",
        viewer=viewer,
        reading=seen,
        item=seen.item,
        form=form,
        **{**_standing(viewer), "lapse": explain(lapse) if lapse is not None else None},
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


@blueprint.post("/<int:item_id>/comments")
def comment(item_id: int) -> ResponseReturnValue:
    """Add a comment."""
    person, form = me(), CommentForm()

    def act() -> None:
        now = clock.now()
        with transaction():
            writing.comment(access.viewer_of(person, now), item_id, form.body.data or "", now=now)

    if not save(form, act):
        return _show(item_id, form, 403 if form.form_errors else 400)
    flash("Your comment is on the page.", "success")
    return redirect(url_for(".item", item_id=item_id, _anchor="comments"))
