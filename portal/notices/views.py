"""What a person is mailed about: chosen on a page, or with one press from a mail."""

from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import NotFound
from portal.extensions import csrf
from portal.notices import links, requests, subscriptions, suppression
from portal.notices.forms import PreferencesForm, value_of
from portal.notices.models import Topic
from portal.notices.requests import Saved, State
from portal.notices.subscriptions import Offer, Subscriber
from portal.notices.topics import WORDS, in_words
from portal.web import errors
from portal.web.guards import guarded_by, protect, public, signed_in

blueprint = Blueprint("notices", __name__, url_prefix="")
protect(blueprint, signed_in)

NO_SUCH_LINK = (
    "This link does not work",
    "It was cut off or changed on its way. Open it again from the mail, whole, or sign in and choose your notices there.",
)


@dataclass(frozen=True)
class Reader:
    """Whose choices a page shows, and how far it reaches: one product (of a link in a mail), or all.

    `most` confirmation mails are sent in a day; a link can be passed on, so it sends fewer than somebody who has signed in.
    """

    user_id: int
    email: str
    action: str
    most: int
    product_id: int | None = None

    def offers(self, now: datetime) -> list[Offer]:
        return subscriptions.offers(self.user_id, now, product_id=self.product_id)


@blueprint.route("/account/notices/", methods=["GET", "POST"])
def preferences() -> ResponseReturnValue:
    """What the signed-in person is mailed about, to be seen and changed."""
    reader = Reader(current_user.id, current_user.email, url_for("notices.preferences"), requests.MOST_BY_THE_PERSON)
    return _preferences(reader, PreferencesForm())


@blueprint.route("/notices/preferences/<token>", methods=["GET", "POST"])
@guarded_by(public)
def preferences_by_link(token: str) -> ResponseReturnValue:
    """The same choices for the person and product of a link in a mail, without log-in; the link is the authority."""
    found = links.read_preferences(current_settings(), token)
    person = subscriptions.find_subscriber(found[0]) if found is not None else None
    if found is None or person is None:
        return errors.page(404, title=NO_SUCH_LINK[0], message=NO_SUCH_LINK[1])
    here = url_for("notices.preferences_by_link", token=token)
    reader = Reader(person.user_id, person.email, here, requests.MOST_BY_ANYBODY, found[1])
    return _preferences(reader, PreferencesForm(meta={"csrf": False}))


def _preferences(reader: Reader, form: PreferencesForm) -> ResponseReturnValue:
    now = clock.now()
    offers = reader.offers(now)
    form.offer(offers)
    if not form.validate_on_submit():
        return _preferences_page(reader, offers, form)
    with transaction():
        match form.act.data:
            case "ask-again":
                saved = requests.ask_again(reader.user_id, reader.offers(now), now=now, most=reader.most)
            case "confirm-address":
                sent = requests.ask_one(reader.user_id, None, [], now=now, most=reader.most)
                saved = Saved(asked=int(sent), not_asked=int(not sent))
            case _:
                saved = requests.save(reader.user_id, reader.offers(now), form.chosen(), now=now, most=reader.most)
    _say(saved, reader.email)
    return redirect(reader.action, 303)


def _say(saved: Saved, email: str) -> None:
    """Tell what saving did."""
    if saved.asked:
        flash(f"We sent you a mail to {email}. Open it and confirm there; nothing is switched on before.", "info")
    if saved.not_asked:
        flash(
            f"We could not send another mail to {email} now, so what you switched on is not asked for yet. "
            "Look for the mails we sent today, or try again tomorrow.",
            "warning",
        )
    if saved.changed:
        flash("Your notices are saved.", "success")
    elif not (saved.asked or saved.not_asked):
        flash("Nothing was changed: your notices were like this already.", "success")


def _preferences_page(reader: Reader, offers: list[Offer], form: PreferencesForm) -> ResponseReturnValue:
    ticked = form.wanted.data if form.is_submitted() else None
    if ticked is None:
        ticked = [
            value_of(offer.product_id, choice.topic) for offer in offers for choice in offer.choices if choice.wanted or choice.asked_at
        ]
    return render_template(
        "notices_pages/preferences.html",
        offers=offers, form=form, action=reader.action, email=reader.email, ticked=set(ticked), words=WORDS, value_of=value_of,
        waiting=any(choice.asked_at for offer in offers for choice in offer.choices),
        suppressed=suppression.find(reader.email),
        linked=not current_user.is_authenticated,
    )  # fmt: skip


@blueprint.route("/notices/confirm/<token>", methods=["GET", "POST"])
@guarded_by(public)
def confirm(token: str) -> ResponseReturnValue:
    """Confirm what somebody asked for by mail. GET shows one button, since mail scanners open links; POST confirms, once.

    Like the other links of mails it works without cookie, log-in or CSRF token: the link is the authority.
    """
    now = clock.now()
    try:
        if request.method == "POST":
            with transaction():
                requests.confirm(token, now=now)
        asked = requests.find(token, now=now)
    except NotFound as error:
        return errors.page(404, title=NO_SUCH_LINK[0], message=str(error))
    settings = current_settings()
    product = asked.product
    body = render_template(
        "notices_pages/confirm.html",
        asked=asked,
        state=asked.state.value,
        wanted=in_words(asked.topics),
        off=in_words(topic for topic in asked.topics if topic not in asked.on),
        action=url_for("notices.confirm", token=token),
        days=requests.LASTS.days,
        again_url=f"/releases/{product.slug}/subscribe" if product else url_for("notices.preferences"),
        preferences_url=url_for("notices.preferences_by_link", token=links.preferences_token(settings, asked.user_id, product.id))
        if product
        else url_for("notices.preferences"),
    )
    return body, 200 if asked.state in {State.OPEN, State.CONFIRMED} else 410


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
csrf.exempt(confirm)
csrf.exempt(unsubscribe)
