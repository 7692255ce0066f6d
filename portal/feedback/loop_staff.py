"""Linking items and releases, from either one's page, and what testers say of a release."""

from http import HTTPStatus

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import followers, links, verdicts
from portal.feedback.loop_models import Answer
from portal.feedback.models import Item
from portal.feedback.views import me
from portal.releases.models import Channel, Release
from portal.web import sections
from portal.web.guards import holds_role, protect, staff
from portal.web.redirects import safe_next

blueprint = Blueprint("feedback_links_staff", __name__, url_prefix="/staff/feedback/links")
protect(blueprint, staff("product", "publisher"))


@blueprint.post("/add")
def add() -> ResponseReturnValue:
    """Link an item to a release. Linked to a beta that is out, its voters are asked at once."""
    try:
        with transaction():
            made = links.link(_number("item"), _number("release"), actor=me(), now=clock.now())
    except (Invalid, Conflict, NotFound) as error:
        flash(f"Nothing was linked. {error}", "error")
    else:
        flash(
            "Linked. Where the beta is out already, its voters are asked by mail now." if made else "They were linked already.", "success"
        )
    return _back()


@blueprint.post("/remove")
def remove() -> ResponseReturnValue:
    """Take a link back, and the status that came with it."""
    try:
        with transaction():
            links.unlink(_number("item"), _number("release"), actor=me(), now=clock.now())
    except NotFound as error:
        flash(str(error), "error")
    else:
        flash("The link is taken back. Verdicts that were given are kept.", "success")
    return _back()


def _number(name: str) -> int:
    """A number of the form, written as "187" or "#187"; 0 for anything else, which nothing is called."""
    text = request.form.get(name, "").strip().removeprefix("#")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _back() -> ResponseReturnValue:
    return redirect(safe_next(request.form.get("next"), url_for("home_staff.index")), HTTPStatus.SEE_OTHER)


def item_section(item: Item) -> str:
    """On the staff's page of an item: the releases that bring it with their verdicts, and a form to link another one."""
    found = links.of_item(item)
    return render_template(
        "feedback/_staff_links.html",
        item=item,
        releases=found,
        tallies=verdicts.of_item(item.id, [one.id for one in found]),
        offered=links.releases_to_link(item),
        followed_by=followers.count(item.id),
        Answer=Answer,
    )


def release_section(release: Release) -> str:
    """On the staff's page of a release: what is linked to it, its verdicts, and a form to link another item."""
    return _of_release(release, may_link=True)


def adoption_section(release: Release) -> str:
    """On the page of a release's adoption: what testers say of what it brings."""
    return _of_release(release, may_link=False)


def _of_release(release: Release, *, may_link: bool) -> str:
    found = links.of_release(release, clock.now())
    if not found and not may_link:
        return ""
    return render_template(
        "feedback/_staff_verdicts.html",
        release=release,
        linked=found,
        tallies=verdicts.of_release(release.id, [one.item.id for one in found]),
        is_beta=release.channel is Channel.BETA,
        may_link=may_link and release.withdrawn_at is None,
        reads_items=holds_role("product")(),
        Answer=Answer,
    )


def register_sections() -> None:
    """Register the parts of pages that this module fills in."""
    sections.register("feedback.staff_item", item_section)
    sections.register("releases.staff_release", release_section)
    sections.register("beta.adoption", adoption_section)
