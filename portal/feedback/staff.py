"""Product staff at work: the inbox and one item of it."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import audit, clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict
from portal.feedback import access, attachments, behalf, cases, edits, inbox, tags, triage, writing
from portal.feedback.forms import AnswerForm, NoteForm, read_choice, save
from portal.feedback.inbox import InboxFilter, Sort, View
from portal.feedback.kept_views import keep_forms_of
from portal.feedback.models import ItemKind, Status
from portal.feedback.paging import Place
from portal.feedback.staff_forms import CallForm, TagForm
from portal.feedback.views import me, read_search
from portal.products.catalog import all_products
from portal.products.models import Product
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))
keep_forms_of(blueprint)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List the inbox: what is unread, unless the address asks for something else."""
    now = clock.now()
    products = all_products()
    wanted = _read_filter(products)
    page = inbox.inbox(wanted, Place(request.args.get("after"), request.args.get("before")), now=now)
    counts = inbox.count(wanted)
    link = _linker(products, wanted)
    return render_template(
        "feedback/staff_index.html",
        products=products,
        releases=writing.versions_to_write_about([product.id for product in products]),
        tags=tags.all_tags(),
        wanted=wanted,
        page=page,
        counts=counts,
        waiting=inbox.waiting(),
        currency=current_settings().contract_currency,
        now=now,
        link=link,
        newer_url=link(before=page.newer) if page.newer else None,
        older_url=link(after=page.older) if page.older else None,
    )


def _read_filter(products: Sequence[Product]) -> InboxFilter:
    """Read the address's filters; what means nothing is left out. A search looks everywhere, unless the address says where."""
    slug, words = request.args.get("product"), read_search()
    return InboxFilter(
        person_id=me().id,
        view=request.args.get("view", View.ALL if words else View.UNREAD, type=View),
        search=words,
        product_id=next((product.id for product in products if product.slug == slug), None),
        status=request.args.get("status", type=Status),
        kind=request.args.get("kind", type=ItemKind),
        tag_id=_read_id("tag"),
        release_id=_read_id("release"),
        sort=request.args.get("sort", Sort.NEWEST, type=Sort),
    )


def _read_id(name: str) -> int | None:
    number = request.args.get(name, type=int)
    return number if number is not None and 0 < number <= access.LARGEST_ID else None


def _linker(products: Sequence[Product], wanted: InboxFilter) -> Callable[..., str]:
    """Return what makes an address of the inbox with some filters changed; the place in it is not kept."""
    current: dict[str, Any] = {
        "view": wanted.view,
        "q": wanted.search or None,
        "product": next((product.slug for product in products if product.id == wanted.product_id), None),
        "status": wanted.status,
        "kind": wanted.kind,
        "tag": wanted.tag_id,
        "release": wanted.release_id,
        "sort": wanted.sort if wanted.sort is not Sort.NEWEST else None,
    }
    return lambda **changes: url_for("feedback_staff.index", **{**current, **changes})


@blueprint.get("/<int:item_id>/")
def item(item_id: int) -> ResponseReturnValue:
    """Show one item, which is read from now on."""
    if inbox.is_unread(item_id):
        with transaction():
            triage.mark_read(item_id, read=True, now=clock.now())
    return show(item_id)


def show(
    item_id: int,
    *,
    answer_form: AnswerForm | None = None,
    note_form: NoteForm | None = None,
    tag_form: TagForm | None = None,
    call_form: CallForm | None = None,
    overtaken: bool = False,
) -> ResponseReturnValue:
    """Show an item, with the form that was refused, if one was."""
    now, person = clock.now(), me()
    failed = any(form is not None for form in (answer_form, note_form, tag_form, call_form))
    case = cases.open_case(item_id, now=now)
    if answer_form is None:
        answer_form = AnswerForm(
            formdata=None,
            revision=case.item.revision,
            status=case.item.status.value,
            release=case.item.status_release_id or 0,
            version="" if case.item.status_release_id else case.item.status_version,
            reason=case.reason,
            response=case.item.response,
        )
    answer_form.offer(triage.releases_to_choose(case.item))
    if overtaken:  # the next save is made knowing what is there now
        answer_form.revision.raw_data = None
        answer_form.revision.data = case.item.revision
    page = render_template(
        "feedback/staff_item.html",
        case=case,
        item=case.item,
        me=person,
        look_alikes=cases.look_alikes(case, access.viewer_of(person, now), now=now),
        people=triage.product_staff(),
        files=attachments.shown_to(access.viewer_of(person, now), [item_id, *(one.item.id for one in case.merged)]),
        edited=edits.latest(item_id),
        tags=tags.all_tags(),
        answer_form=answer_form,
        note_form=note_form or NoteForm(formdata=None),
        tag_form=tag_form or TagForm(formdata=None),
        call_form=call_form or CallForm(formdata=None),
        contracts=behalf.contracts_to_choose(case.item, now),
        overtaken=overtaken,
    )
    return page, 409 if overtaken else 400 if failed else 200


@blueprint.post("/<int:item_id>/answer")
def answer(item_id: int) -> ResponseReturnValue:
    """Set status and official response, as one save and one mail."""
    person, form = me(), AnswerForm()
    form.offer(triage.releases_to_choose(triage.find_item(item_id)))
    changed: list[bool] = []

    def act() -> None:
        now = clock.now()
        status = read_choice(Status, form.status.data, "status")
        with transaction():
            changed.append(
                triage.answer(
                    item_id,
                    revision=form.revision.data if form.revision.data is not None else 0,
                    status=status,
                    release_id=form.release.data or None,
                    version=form.version.data or "",
                    reason=form.reason.data or "",
                    response=form.response.data or "",
                    actor=person,
                    now=now,
                )
            )

    if not save(form, act):
        return show(item_id, answer_form=form, overtaken=bool(form.form_errors))
    if changed[0]:
        flash("Saved. The author and followers get one email about it.", "success")
    else:
        flash("Nothing was changed, so nothing was saved and nobody mailed.", "info")
    return redirect(url_for(".item", item_id=item_id))


@blueprint.post("/<int:item_id>/notes")
def note(item_id: int) -> ResponseReturnValue:
    """Add a note for staff alone, or a comment in the product team's name."""
    person, form = me(), NoteForm()

    def act() -> None:
        now = clock.now()
        with transaction():
            triage.add_note(item_id, form.body.data or "", staff_only=form.audience.data != "all", actor=person, now=now)

    if not save(form, act):
        return show(item_id, note_form=form)
    flash("Noted for staff alone." if form.audience.data != "all" else "Your comment is on the page.", "success")
    return redirect(url_for(".item", item_id=item_id, _anchor="talk"))


@blueprint.post("/<int:item_id>/unread")
def unread(item_id: int) -> ResponseReturnValue:
    """Put an item back into the inbox."""
    with transaction():
        triage.mark_read(item_id, read=False, now=clock.now())
        audit.record("feedback.unread", subject_type="feedback_item", subject_id=item_id, actor=me(), now=clock.now())
    flash("Back among the unread.", "info")
    return redirect(url_for(".index"))


@blueprint.post("/<int:item_id>/assign")
def assign(item_id: int) -> ResponseReturnValue:
    """Give an item to a member of the product team; `seen` is whose it was when the page was read, 0 for nobody."""
    person = me()
    wanted, seen = (request.form.get(name, 0, type=int) for name in ("assignee", "seen"))
    try:
        with transaction():
            triage.assign(item_id, wanted or None, seen=seen or None, actor=person, now=clock.now())
    except Conflict as error:
        flash(str(error), "warning")
    return redirect(url_for(".item", item_id=item_id, _anchor="sorting"))
