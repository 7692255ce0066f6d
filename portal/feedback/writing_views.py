"""Writing: new feedback and comments. No text is lost on the way.

The views that take text also take it from people whose session has ended, and in forms whose token is too old: it leads through
signing in as a draft, or comes back in the form. Nothing is done with it before its author has sent it once more.
"""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.account.models import User
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid
from portal.extensions import csrf
from portal.feedback import access, drafts, search, votes, writing
from portal.feedback.access import ReadOnly, Viewer
from portal.feedback.forms import CommentForm, ItemForm, read_choice, save
from portal.feedback.keeping_views import Desk, limits, receive, sign_in_first, with_draft
from portal.feedback.models import ItemKind, Severity, Visibility
from portal.feedback.uploads import Received
from portal.feedback.views import me, only_reads, refuse_reader, show_item
from portal.feedback.writing_models import DraftPurpose
from portal.products.models import Product
from portal.web.guards import guarded_by, protect, public, signed_in

blueprint = Blueprint("feedback_writing", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)
blueprint.register_error_handler(ReadOnly, only_reads)

ITEM_FIELDS = ("product", "kind", "severity", "title", "body", "version", "visibility")
COMMENT_FIELDS = ("body",)
MOST_SIMILAR = 5


def signed_in_person() -> User | None:
    """Return who is signed in. These views are open to all, so that they can keep the text of who is not."""
    return me() if current_user.is_authenticated else None


def save_with_files(form: ItemForm | CommentForm, desk: Desk, act: Callable[[], None]) -> bool:
    """Run `act` if the form is complete and nothing is wrong with its files; otherwise say in the form what is."""
    if not desk.problems:
        return save(form, act)
    form.validate()
    form.files.errors = desk.problems
    return False


# A new item -------------------------------------------------------------------------------------------------------------------


@blueprint.get("/new")
def new() -> ResponseReturnValue:
    """Show the form. Product, version, kind and title can be filled in by the address; `kept` brings a draft back."""
    person = me()
    viewer = access.viewer_of(person, clock.now())
    if not viewer.may_read:
        return refuse_reader(person)
    desk = Desk.returned_to(DraftPurpose.ITEM, None, person)
    form = ItemForm(formdata=None)
    products = _offer(form, viewer)
    if desk.draft_id is not None:
        for name in ITEM_FIELDS:
            form[name].data = desk.fields.get(name) or form[name].data
    else:
        _fill_in(form, person)
    return _show_new(form, viewer, products, desk)


@blueprint.post("/new")
@guarded_by(public)
def send() -> ResponseReturnValue:
    """Take a new item; show it as it would look (`preview`); or vote for another one instead (`vote_for`)."""
    received = receive()
    person = signed_in_person()
    if person is None:
        return sign_in_first(DraftPurpose.ITEM, None, received, ITEM_FIELDS, url_for(".new", kept=1))
    viewer = access.viewer_of(person, clock.now())
    if not viewer.may_read:
        return refuse_reader(person)
    desk = Desk.sent(DraftPurpose.ITEM, None, person, received)
    form = ItemForm(formdata=received.fields)
    products = _offer(form, viewer)
    if received.is_valid and received.fields.get("vote_for", "").isdecimal():
        return _vote_instead(int(received.fields["vote_for"]), person, desk, received)
    if "preview" in received.fields and received.is_valid:
        desk.keep(person, received, ITEM_FIELDS)
        return _show_new(form, viewer, products, desk, previewed=True)
    written: list[int] = []
    if save_with_files(form, desk, lambda: written.append(_write(form, person, products, desk))):
        flash("Saved. Your contract votes for it, and the product team reads it next.", "success")
        return redirect(url_for("feedback.item", item_id=written[0]))
    desk.keep(person, received, ITEM_FIELDS)
    return _show_new(form, viewer, products, desk, code=400)


csrf.exempt(send)  # `receive` checks the token; a form with an old one comes back with what was typed


def _offer(form: ItemForm, viewer: Viewer) -> list[Product]:
    """Fill the form's choices; return the products that the viewer may write about. Raises ReadOnly if there are none."""
    if not viewer.contracts:
        raise ReadOnly(next(iter(viewer.lapses.values()), None))
    products = [product for product in access.products_of(viewer) if product.id in viewer.contracts]
    form.offer(products, writing.versions_to_write_about(viewer.contracts), current_settings().vendor_name)
    return products


def _fill_in(form: ItemForm, person: User) -> None:
    """Fill in what the address says, and otherwise the version that the person downloaded last."""
    form.title.data = request.args.get("title", "")[: writing.TITLE_LIMIT]
    _fill_in_version(form, person)
    offered: dict[str, set[str]] = {
        "product": set(form.products),
        "version": form.versions,
        "kind": {kind.value for kind in ItemKind},
    }
    for name, values in offered.items():
        if request.args.get(name) in values:
            form[name].data = request.args[name]


def _fill_in_version(form: ItemForm, person: User) -> None:
    last = writing.last_download(person)
    if last is None or "version" in request.args:
        return
    slug = last.product.slug
    if request.args.get("product", slug) == slug and slug in form.products and last.version in form.versions:
        form.product.data, form.version.data = slug, last.version


def _show_new(
    form: ItemForm, viewer: Viewer, products: list[Product], desk: Desk, *, previewed: bool = False, code: int = 200
) -> ResponseReturnValue:
    form.draft.raw_data, form.draft.data = None, desk.token or ""
    slug = form.product.data or products[0].slug
    page = render_template(
        "feedback/new.html",
        form=form,
        products=products,
        desk=desk,
        limits=limits(),
        previewed=previewed,
        similar=_similar(viewer, products, slug, form.title.data, form.body.data),
    )
    return page, code


def _similar(viewer: Viewer, products: list[Product], slug: str | None, *texts: str | None) -> list[search.Similar]:
    product = next((product for product in products if product.slug == slug), None)
    text = " ".join(filter(None, texts))
    return search.similar(viewer, product.id, text, limit=MOST_SIMILAR, now=clock.now()) if product else []


def _write(form: ItemForm, person: User, products: list[Product], desk: Desk) -> int:
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
        desk.hand_over(person, item_id=item.id)
        return item.id


def _vote_instead(item_id: int, person: User, desk: Desk, received: Received) -> ResponseReturnValue:
    """Vote for an item instead of writing a second copy. What was typed waits there as a comment, to be sent or left."""
    now = clock.now()
    with transaction():
        votes.cast(access.viewer_of(person, now), item_id, now=now)
        body = received.fields.get("body", "").strip()
        token = ""  # nosec B105 # no token yet
        if body:
            token, draft = drafts.keep(DraftPurpose.COMMENT, item_id, {"body": body}, person.id, now=now)
            desk.hand_to_draft(person, draft.id)
        drafts.remove(desk.draft_id)
    if not body:
        flash("Your contract votes for it now.", "success")
        return redirect(url_for("feedback.item", item_id=item_id))
    flash("Your contract votes for it now. What you wrote waits below as a comment; send it, if it adds something.", "success")
    return with_draft(redirect(url_for("feedback.item", item_id=item_id, kept=1, _anchor="comments"), 303), token)


@blueprint.post("/similar")
def similar() -> ResponseReturnValue:
    """Return what is like the typed title and description, as part of the page. By POST: what is typed stays out of logs."""
    viewer = access.viewer_of(me(), clock.now())
    products = [product for product in access.products_of(viewer) if product.id in viewer.contracts]
    found = _similar(viewer, products, request.form.get("product"), request.form.get("title"), request.form.get("body"))
    return render_template("feedback/_similar.html", similar=found)


@blueprint.post("/preview")
def preview() -> ResponseReturnValue:
    """Return the typed text as readers get it, as part of the page."""
    return render_template("feedback/_preview.html", body=request.form.get("body", "")[: writing.BODY_LIMIT])


# Comments ---------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<int:item_id>/comments")
@guarded_by(public)
def comment(item_id: int) -> ResponseReturnValue:
    """Add a comment, or show it as it would look (`preview`)."""
    received = receive()
    person = signed_in_person()
    if person is None:
        target = url_for("feedback.item", item_id=item_id, kept=1, _anchor="comments")
        return sign_in_first(DraftPurpose.COMMENT, item_id, received, COMMENT_FIELDS, target)
    desk = Desk.sent(DraftPurpose.COMMENT, item_id, person, received)
    form = CommentForm(formdata=received.fields)
    if "preview" in received.fields and received.is_valid:
        desk.keep(person, received, COMMENT_FIELDS)
        return show_item(item_id, form, desk, previewed=True)

    def act() -> None:
        now = clock.now()
        with transaction():
            written = writing.comment(access.viewer_of(person, now), item_id, form.body.data or "", now=now)
            desk.hand_over(person, item_id=item_id, comment_id=written.id)

    if save_with_files(form, desk, act):
        flash("Your comment is on the page.", "success")
        return redirect(url_for("feedback.item", item_id=item_id, _anchor="comments"))
    desk.keep(person, received, COMMENT_FIELDS)
    return show_item(item_id, form, desk, code=403 if form.form_errors else 400)


csrf.exempt(comment)  # as above
