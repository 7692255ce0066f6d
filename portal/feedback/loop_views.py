"""Following an item, and saying whether a beta solves it."""

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from portal import clock
from portal.database import transaction
from portal.errors import Conflict, Invalid, NotFound
from portal.feedback import access, asking, followers, links, verdicts
from portal.feedback.access import Viewer
from portal.feedback.kept_views import keep_forms_of
from portal.feedback.loop_models import Answer
from portal.feedback.models import Item
from portal.feedback.paging import Place
from portal.feedback.verdicts import Asked
from portal.feedback.views import me, refuse_reader
from portal.products.catalog import find_product
from portal.releases.catalog import find_visible
from portal.releases.models import Channel, Release
from portal.web import sections
from portal.web.guards import protect, signed_in
from portal.web.redirects import safe_next

blueprint = Blueprint("feedback_loop", __name__, url_prefix="/feedback")
protect(blueprint, signed_in)
keep_forms_of(blueprint)

_CHOOSE = "Choose yes, partly or no."


@dataclass(frozen=True)
class Entry:
    """One question of the form: what it is about, what stands in it, and what is wrong with that."""

    asked: Asked
    answer: str
    words: str
    error: str = ""


# Following ---------------------------------------------------------------------------------------------------------------------


@blueprint.post("/<int:item_id>/follow")
def follow(item_id: int) -> ResponseReturnValue:
    """Follow an item, or, where `wanted` is "no", no longer. Twice is the same as once."""
    person, now, wanted = me(), clock.now(), request.form.get("wanted") != "no"
    with transaction():
        followers.choose(access.viewer_of(person, now), item_id, wanted=wanted, now=now)
    flash(
        "We mail you when its status changes or we answer." if wanted else "You no longer follow it. We mail you nothing about it.",
        "success",
    )
    return redirect(safe_next(request.form.get("next"), url_for("feedback.item", item_id=item_id)), HTTPStatus.SEE_OTHER)


@blueprint.get("/following/")
def following() -> ResponseReturnValue:
    """List what the reader follows."""
    viewer = access.viewer_of(me(), clock.now())
    if not viewer.may_read:
        return refuse_reader(viewer.person)
    page = followers.list_followed(viewer, Place(request.args.get("after"), request.args.get("before")))
    return render_template("feedback/following.html", page=page)


def follow_section(item: Item, viewer: Viewer) -> str:
    """On an item's page: whether the reader follows it, and the button."""
    if viewer.staff:
        return ""
    return render_template("feedback/_follow.html", item=item, following=followers.following(viewer, item))


# Verdicts ----------------------------------------------------------------------------------------------------------------------


@blueprint.route("/verdicts/<product>/<version>/", methods=["GET", "POST"])
def verdicts_of(product: str, version: str) -> ResponseReturnValue:
    """Say of each item in a beta whether that solves it. What is left open stays open; nothing is saved if one answer is refused."""
    person, now = me(), clock.now()
    viewer = access.viewer_of(person, now)
    offered = find_product(product)
    if offered.id not in viewer.contracts:  # before any version is looked up: whether it exists is nobody else's business
        raise NotFound("There is no such beta.")
    beta = find_visible(product, version, Channel.BETA)
    if request.method == "GET":
        return _page(beta, _entries(verdicts.to_answer(viewer, beta, now)))
    if not asking.is_open(beta, now):
        raise Conflict(f"{offered.name} {beta.version} is no longer tested, so nothing was saved.")
    asked = verdicts.to_answer(viewer, beta, now, item_ids=_posted_items())
    typed = [_read(one) for one in asked]
    answered = [one for one in typed if one.answer or one.words.strip()]
    if not answered:
        flash("Nothing was saved: no answer was chosen yet.", "info")
        return redirect(_back(beta), HTTPStatus.SEE_OTHER)
    refused: dict[int, str] = {}
    beta_id = beta.id
    try:
        with transaction():
            for one in answered:
                item_id = one.asked.item.id
                try:
                    answer = Answer(one.answer)
                    verdicts.give(access.viewer_of(person, now), item_id, beta_id, answer=answer, words=one.words, now=now)
                except ValueError:
                    refused[item_id] = _CHOOSE
                except Invalid as error:
                    refused[item_id] = str(error)
            if refused:
                raise Invalid("Some answers were refused.", "answer")
    except Invalid:
        again = [Entry(one.asked, one.answer, one.words, refused.get(one.asked.item.id, "")) for one in typed]
        return _page(beta, again), HTTPStatus.BAD_REQUEST
    flash("Thank you. The product team reads it next to this beta. You can change it as long as the beta runs.", "success")
    return redirect(_back(beta), HTTPStatus.SEE_OTHER)


def _posted_items() -> set[int]:
    """The items that the form holds answers for."""
    names = [name.removeprefix("answer-") for name in request.form if name.startswith("answer-")]
    names += [name.removeprefix("words-") for name in request.form if name.startswith("words-")]
    return {int(name) for name in names[:1000] if name.isascii() and name.isdecimal() and len(name) < 10}


def _read(asked: Asked) -> Entry:
    return Entry(asked, request.form.get(f"answer-{asked.item.id}", ""), request.form.get(f"words-{asked.item.id}", ""))


def _entries(asked: list[Asked]) -> list[Entry]:
    return [Entry(one, one.mine.answer.value if one.mine else "", one.mine.words if one.mine else "") for one in asked]


def _page(beta: Release, entries: list[Entry]) -> str:
    return render_template("feedback/verdicts.html", release=beta, entries=entries, next=_back(beta))


def _back(beta: Release) -> str:
    return safe_next(request.form.get("next"), f"{beta.path}#verdict")


def beta_section(release: Release) -> str:
    """On a beta's page: what of it the reader asked for, to be answered there."""
    now = clock.now()
    entries = _entries(verdicts.to_answer(access.viewer_of(me(), now), release, now))
    return render_template("feedback/_verdicts.html", release=release, entries=entries, next=f"{release.path}#verdict") if entries else ""


def verdict_section(item: Item, viewer: Viewer) -> str:
    """On an item's page: each running beta that it is in, to be answered there."""
    now, here = clock.now(), url_for("feedback.item", item_id=item.id)
    parts = [
        render_template("feedback/_verdicts.html", release=one.asked.release, entries=[one], next=f"{here}#verdict", alone=True)
        for one in _entries(verdicts.of_reader(viewer, item, links.of_item(item, viewer), now))
    ]
    return "".join(parts)


def links_section(item: Item, viewer: Viewer) -> str:
    """On an item's page: the releases that bring it, as far as the reader may know of them."""
    found = links.of_item(item, viewer)
    return render_template("feedback/_links.html", releases=found) if found else ""


def register_sections() -> None:
    """Register the parts of pages that this module fills in."""
    sections.register("beta.release", beta_section)
    sections.register("feedback.item.follow", follow_section)
    sections.register("feedback.item.verdict", verdict_section)
    sections.register("feedback.item.links", links_section)
