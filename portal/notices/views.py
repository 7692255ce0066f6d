"""What a person is mailed about: chosen on a page, or with one press from a mail."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.config import current_settings
from portal.database import transaction
from portal.extensions import csrf
from portal.notices import links, subscriptions
from portal.notices.forms import PreferencesForm, value_of
from portal.notices.models import Topic
from portal.notices.subscriptions import Offer, Subscriber
from portal.notices.topics import WORDS
from portal.web import errors
from portal.web.guards import guarded_by, protect, public, signed_in

blueprint = Blueprint("notices", __name__, url_prefix="")
protect(blueprint, signed_in)

NO_SUCH_LINK = (
    "This link does not work",
    "It was cut off or changed on its way. Open it again from the mail, whole, or sign in and choose your notices there.",
)


@blueprint.get("/account/notices/")
def preferences() -> ResponseReturnValue:
    """Show what the signed-in person is mailed about."""
    offers = subscriptions.offers(current_user.id, clock.now())
    return _preferences_page(offers, PreferencesForm(), url_for("notices.save_preferences"), email=current_user.email)


@blueprint.post("/account/notices/")
def save_preferences() -> ResponseReturnValue:
    return _save(current_user.id, current_user.email, PreferencesForm(), url_for("notices.preferences"))


@blueprint.route("/notices/preferences/<token>", methods=["GET", "POST"])
@guarded_by(public)
def preferences_by_link(token: str) -> ResponseReturnValue:
    """The same choices for the person and product of a link in a mail, without log-in; the link is the authority."""
    found = links.read_preferences(current_settings(), token)
    person = subscriptions.find_subscriber(found[0]) if found is not None else None
    if found is None or person is None:
        return errors.page(404, title=NO_SUCH_LINK[0], message=NO_SUCH_LINK[1])
    form = PreferencesForm(meta={"csrf": False})
    here = url_for("notices.preferences_by_link", token=token)
    if form.is_submitted():
        return _save(person.user_id, person.email, form, here, product_id=found[1])
    offers = subscriptions.offers(person.user_id, clock.now(), product_id=found[1])
    return _preferences_page(offers, form, here, email=person.email)


def _save(user_id: int, email: str, form: PreferencesForm, here: str, *, product_id: int | None = None) -> ResponseReturnValue:
    now = clock.now()
    offers = subscriptions.offers(user_id, now, product_id=product_id)
    form.offer(offers)
    if not form.validate_on_submit():
        return _preferences_page(offers, form, here, email=email)
    with transaction():
        changed = subscriptions.save(user_id, subscriptions.offers(user_id, now, product_id=product_id), form.chosen(), now=now)
    flash("Your notices are saved." if changed else "Nothing was changed: your notices were like this already.", "success")
    return redirect(here, 303)


def _preferences_page(offers: list[Offer], form: PreferencesForm, action: str, *, email: str) -> ResponseReturnValue:
    ticked = form.wanted.data if form.is_submitted() else None
    if ticked is None:
        ticked = [value_of(offer.product_id, choice.topic) for offer in offers for choice in offer.choices if choice.wanted]
    return render_template(
        "notices_pages/preferences.html",
        offers=offers, form=form, action=action, email=email, ticked=set(ticked), words=WORDS, value_of=value_of,
        linked=not current_user.is_authenticated,
    )  # fmt: skip


@blueprint.route("/notices/unsubscribe/<token>", methods=["GET", "POST"])
@guarded_by(public)
def unsubscribe(token: str) -> ResponseReturnValue:
    """Switch one topic of one product off for the person of the link (RFC 8058: a POST alone, without cookie or log-in).

    GET changes nothing, since mail scanners open links. Doing it twice is as good as once, and the link never expires.
    """
    target = _unsubscribe_target(token)
    if target is None:
        return errors.page(404, title=NO_SUCH_LINK[0], message=NO_SUCH_LINK[1])
    person, product_id, product_name, topic = target
    done = request.method == "POST"
    if done:
        with transaction():
            subscriptions.choose(person.user_id, product_id, topic, wanted=False, now=clock.now())
    return render_template(
        "notices_pages/unsubscribe.html",
        done=done,
        on=subscriptions.is_wanted(person.user_id, product_id, topic),
        email=person.email,
        product_name=product_name,
        label=WORDS[topic].label,
        action=url_for("notices.unsubscribe", token=token),
        preferences_url=url_for(
            "notices.preferences_by_link", token=links.preferences_token(current_settings(), person.user_id, product_id)
        ),
    )


def _unsubscribe_target(token: str) -> tuple[Subscriber, int, str, Topic] | None:
    found = links.read_unsubscribe(current_settings(), token)
    if found is None:
        return None
    user_id, product_id, topic = found
    person = subscriptions.find_subscriber(user_id)
    product_name = subscriptions.find_product_name(product_id)
    return (person, product_id, product_name, topic) if person is not None and product_name is not None else None


# The signed link is the authority here, not a cookie, so there is nothing for another site to ride on.
csrf.exempt(preferences_by_link)
csrf.exempt(unsubscribe)
