"""Release managers at work: drafts, their builds, what is mailed to whom, publishing and withdrawing."""

from datetime import date

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock, signatures
from portal.account.models import User
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Conflict, Invalid, PortalError
from portal.extensions import csrf
from portal.notices.people import recipients
from portal.notices.progress import find_by_key, progress_now
from portal.products.catalog import all_products, find_product
from portal.releases import announcements, audience, builds, catalog, drafts, lineage, publishing, ways_out
from portal.releases.forms import BuildForm, DraftForm, NewRelease, SignatureForm, WithdrawForm, WordsForm
from portal.releases.models import Channel, Release, ReleaseState
from portal.releases.uploads import receive_build
from portal.storage import Away, TooLarge
from portal.web.errors import STORAGE_RETRY_SECONDS
from portal.web.forms import refuse
from portal.web.freshness import needs_fresh_sign_in
from portal.web.guards import protect, staff
from portal.web.headers import MAIL_PREVIEW_POLICY

blueprint = Blueprint("releases_staff", __name__, url_prefix="/staff/releases")
protect(blueprint, staff("publisher"))

PAGE = 50
NEWEST = 8


def me() -> User:
    """The signed-in person."""
    found: User = current_user._get_current_object()
    return found


def to_page(release: Release) -> ResponseReturnValue:
    return redirect(url_for("releases_staff.show", product=release.product.slug, version=release.version), 303)


# Lists -------------------------------------------------------------------------------------------------------------------------


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Show all drafts, and the newest releases of each product."""
    return render_template(
        "releases/staff_index.html", drafts=catalog.drafts(), products=all_products(), newest=catalog.newest_of_each(NEWEST), limit=NEWEST
    )


@blueprint.get("/<product>/")
def product(product: str) -> ResponseReturnValue:
    """Show all releases of a product, newest first, a page at a time (`below` a version)."""
    found = find_product(product)
    releases = catalog.everything_of(found.id, below=request.args.get("below"), limit=PAGE + 1)
    older = url_for("releases_staff.product", product=product, below=releases[PAGE - 1].version) if len(releases) > PAGE else None
    return render_template("releases/staff_product.html", product=found, releases=releases[:PAGE], older=older, first=not request.args)


# Words -------------------------------------------------------------------------------------------------------------------------


@blueprint.route("/new", methods=["GET", "POST"])
def new() -> ResponseReturnValue:
    form = NewRelease(product=request.args.get("product"))
    form.offer(all_products())
    if "preview" not in request.form and form.validate_on_submit():
        try:
            with transaction():
                words = vars(form.words())
                release = drafts.create_release(
                    find_product(form.product.data), **form.identity(), **words, actor=me(), now=clock.now()
                )  # fmt: skip
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"The draft of {release.product.name} {release.version} is saved. Add its builds next.", "success")
            return to_page(release)
    return _editor(form, None)


@blueprint.route("/<product>/<version>/edit", methods=["GET", "POST"])
def edit(product: str, version: str) -> ResponseReturnValue:
    """Change a draft, or correct what a published release says."""
    release = catalog.find_release(product, version)
    if release.state is ReleaseState.SCHEDULED:
        flash("It is scheduled. Make it a draft again to change it.", "error")
        return to_page(release)
    is_draft = release.state is ReleaseState.DRAFT
    form = DraftForm(obj=release) if is_draft else WordsForm(obj=release)
    overtaken = False
    if "preview" not in request.form and form.validate_on_submit():
        release_id, revision, now = release.id, form.read_revision(), clock.now()
        try:
            with transaction():
                if isinstance(form, DraftForm):
                    drafts.edit_draft(release_id, revision=revision, **form.identity(), words=form.words(), actor=me(), now=now)
                else:
                    drafts.correct_words(release_id, revision=revision, words=form.words(), actor=me(), now=now)
        except PortalError as error:
            refuse(form, error)
            overtaken = release.revision != revision
        else:
            flash("The draft is saved." if is_draft else "The correction is saved. Nobody was mailed again.", "success")
            return to_page(release)
    return _editor(form, release, overtaken)


def _editor(form: WordsForm, release: Release | None, overtaken: bool = False) -> ResponseReturnValue:
    if overtaken and release:  # the next save is made knowing what is there now
        form.revision.raw_data, form.revision.data = None, str(release.revision)
    page = render_template("releases/edit.html", form=form, release=release, overtaken=overtaken)
    return page, 409 if overtaken else 400 if form.errors else 200


@blueprint.post("/preview")
def preview() -> ResponseReturnValue:
    """Return the texts of an editor's form as they will look: a part of a page, for the script beside the form."""
    return render_template("releases/_preview.html", words=WordsForm().words())


# One release -------------------------------------------------------------------------------------------------------------------


@blueprint.get("/<product>/<version>/")
def show(product: str, version: str) -> ResponseReturnValue:
    release = catalog.find_release(product, version)
    if release.version != version:
        return redirect(url_for("releases_staff.show", product=product, version=release.version), 301)
    return _page(release, BuildForm())


def _page(release: Release, form: BuildForm, upload_error: PortalError | None = None, status: int = 200) -> ResponseReturnValue:
    now = clock.now()
    waits = release.state in (ReleaseState.DRAFT, ReleaseState.SCHEDULED)
    notice = find_by_key(announcements.published_key(release.id))
    return render_template(
        "releases/staff_release.html",
        release=release,
        safe=ways_out.way_out(release, _today()),
        final=lineage.final_of(release) if release.channel is Channel.BETA else None,
        betas=lineage.betas_of(release) if release.channel is Channel.STABLE else [],
        form=form,
        signature_form=SignatureForm(formdata=None),
        upload_error=upload_error,
        unsigned=_unsigned(release),
        limit=current_settings().max_build_bytes,
        replaces=drafts.previous_version(release.product_id, release.version_key),
        mail=announcements.preview(release, recipient=me(), now=now),
        sender=f"{current_settings().vendor_name} <{current_settings().mail_from}>",
        obstacle=publishing.obstacle_to_publishing(release, now) if waits else None,
        reach=audience.reach(release, now) if waits else None,
        notice=notice,
        progress=progress_now(notice, now) if notice else None,
        people=recipients(notice.id) if notice else None,
    ), status


def _today() -> date:
    """The day it is for the vendor."""
    return clock.civil_date(clock.now(), current_settings().default_time_zone)


def _unsigned(release: Release) -> set[int]:
    """The ids of the builds that the product's key has no right signature of; none where it has no key."""
    product = release.product
    return {build.id for build in release.builds if not builds.is_signed(build, product)} if product.signing_key else set()


@blueprint.get("/<product>/<version>/audience")
def people(product: str, version: str) -> ResponseReturnValue:
    """List everybody a release concerns, and who of them would be mailed now, a page at a time (`after` an address)."""
    release = catalog.find_release(product, version)
    after = request.args.get("after", "").replace("\0", "")
    found = audience.people(release, clock.now(), after=after, limit=PAGE + 1)
    further = None
    if len(found) > PAGE:
        further = url_for("releases_staff.people", product=product, version=version, after=found[PAGE - 1].email)
    return render_template("releases/audience.html", release=release, people=found[:PAGE], further=further, first=not after)


@blueprint.get("/<product>/<version>/mail.html")
def mail_html(product: str, version: str) -> ResponseReturnValue:
    """Show the mail as HTML, for a sandboxed frame."""
    mail = announcements.preview(catalog.find_release(product, version), recipient=me(), now=clock.now())
    return mail.html, {"Content-Security-Policy": MAIL_PREVIEW_POLICY}


@blueprint.get("/<product>/<version>/mail.txt")
def mail_text(product: str, version: str) -> ResponseReturnValue:
    mail = announcements.preview(catalog.find_release(product, version), recipient=me(), now=clock.now())
    return f"Subject: {mail.subject}\n\n{mail.text}", {"Content-Type": "text/plain; charset=utf-8"}


@blueprint.post("/<product>/<version>/test")
def send_test(product: str, version: str) -> ResponseReturnValue:
    with transaction():
        release = catalog.find_release(product, version)
        announcements.send_test(release, actor=me(), now=clock.now())
    flash(f"A test is on its way to {me().email}. Nobody else gets it.", "success")
    return to_page(release)


# Builds ------------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<product>/<version>/builds")
def upload_build(product: str, version: str) -> ResponseReturnValue:
    """Take in a build. A program that asks for JSON is told the outcome in JSON, a form gets a page."""
    release = catalog.find_release(product, version)
    release_id, form = release.id, BuildForm(formdata=None)
    try:
        upload = receive_build(release)
        form.read(upload.fields)
        arrived = upload.arrival()
        with transaction():
            builds.add_build(
                release_id, upload.filename, arrived.stored, **form.description(), blake2b=arrived.blake2b,
                signature=arrived.signature, actor=me(), now=clock.now(),
            )  # fmt: skip
    except PortalError as error:
        return _refusal(release, form, error)
    flash(f"{upload.filename} is uploaded.", "success")
    if request.accept_mimetypes.best == "application/json":
        return {"sha256": arrived.stored.sha256, "size": arrived.stored.size, "signed": arrived.signature is not None}, 201
    return to_page(release)


csrf.exempt(upload_build)  # `receive_build` checks the token itself, before the body is read where it can


def _refusal(release: Release, form: BuildForm, error: PortalError) -> ResponseReturnValue:
    status = 413 if isinstance(error, TooLarge) else 409 if isinstance(error, Conflict) else 503 if isinstance(error, Away) else 400
    if request.accept_mimetypes.best == "application/json":
        answer = make_response({"error": str(error), "field": getattr(error, "field", None)}, status)
    else:
        answer = make_response(_page(release, form, error, status))
    if isinstance(error, Away):
        answer.headers["Retry-After"] = str(STORAGE_RETRY_SECONDS)
    return answer


@blueprint.post("/<product>/<version>/builds/<int:build_id>/signature")
def sign_build(product: str, version: str, build_id: int) -> ResponseReturnValue:
    """Take in the signature of a build that is there already."""
    release = catalog.find_release(product, version)
    form, release_id = SignatureForm(), release.id
    if not form.validate_on_submit():
        return _page(release, BuildForm(formdata=None), Invalid(form.signature.errors[0], "signature"), 400)
    try:
        with transaction():
            build = builds.sign_build(
                release_id, build_id, form.signature.data.read(signatures.LONGEST_BYTES + 1), actor=me(), now=clock.now()
            )  # fmt: skip
            name = build.filename
    except (Invalid, Conflict) as error:
        return _page(release, BuildForm(formdata=None), error, 409 if isinstance(error, Conflict) else 400)
    flash(f"{name} is signed, and the signature is right.", "success")
    return to_page(release)


@blueprint.post("/<product>/<version>/builds/<int:build_id>/remove")
def remove_build(product: str, version: str, build_id: int) -> ResponseReturnValue:
    with transaction():
        release = catalog.find_release(product, version)
        builds.remove_build(release.id, build_id, actor=me(), now=clock.now())
    flash("The build is removed from the draft.", "success")
    return to_page(release)


# Acts --------------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<product>/<version>/publish")
@needs_fresh_sign_in
def publish(product: str, version: str) -> ResponseReturnValue:
    """Publish once, however often the button is pressed: whoever presses again sees the published page."""
    release = catalog.find_release(product, version)
    release_id = release.id
    try:
        with transaction():
            publishing.publish_release(release_id, actor=me(), now=clock.now(), revision=WordsForm().read_revision())
    except Conflict as error:
        if release.state in (ReleaseState.DRAFT, ReleaseState.SCHEDULED):
            flash(str(error), "error")
        return to_page(release)
    flash(f"{release.product.name} {release.version} is published. How its notice goes out stands below.", "success")
    return to_page(release)


@blueprint.route("/<product>/<version>/withdraw", methods=["GET", "POST"])
@needs_fresh_sign_in
def withdraw(product: str, version: str) -> ResponseReturnValue:
    release = catalog.find_release(product, version)
    offered = ways_out.choices(release, _today())
    proposed = ways_out.propose(release, offered)
    form = WithdrawForm(safe=str(proposed.id) if proposed else "")
    form.offer(offered)
    if request.method == "GET" and release.state is ReleaseState.WITHDRAWN:
        return to_page(release)
    if form.validate_on_submit():
        release_id = release.id
        try:
            with transaction():
                publishing.withdraw(
                    release_id, form.reason.data or "", safe_release_id=form.safe_release_id(),
                    tell_downloaders=form.tell_downloaders.data, actor=me(), now=clock.now(),
                )  # fmt: skip
        except PortalError as error:
            refuse(form, error)
        else:
            flash(f"{release.product.name} {release.version} is withdrawn. Nobody can download it any more.", "success")
            return to_page(release)
    page = render_template("releases/withdraw.html", release=release, form=form, told=announcements.count_downloaders(release.id))
    return page, 400 if form.errors else 200


@blueprint.route("/<product>/<version>/discard", methods=["GET", "POST"])
def discard(product: str, version: str) -> ResponseReturnValue:
    release = catalog.find_release(product, version)
    if request.method == "GET":
        return render_template("releases/discard.html", release=release) if release.state is ReleaseState.DRAFT else to_page(release)
    title, release_id = f"{release.product.name} {release.version}", release.id
    with transaction():
        drafts.discard(release_id, actor=me(), now=clock.now())
    flash(f"The draft of {title} is discarded.", "success")
    return redirect(url_for("releases_staff.index"), 303)
