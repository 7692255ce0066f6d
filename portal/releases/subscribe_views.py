"""Anybody asks to be mailed about a product's releases. A click in the mail confirms it (double opt-in)."""

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import clock
from portal.account import opt_in
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid
from portal.notices import requests
from portal.notices.forms import SubscribeForm
from portal.notices.topics import WORDS, in_words
from portal.products.catalog import find_product
from portal.web import limits
from portal.web.forms import refuse
from portal.web.guards import protect, public

blueprint = Blueprint("subscribe", __name__, url_prefix="/releases")
protect(blueprint, public)

_SCOPE = "subscribe"


@blueprint.route("/<product>/subscribe", methods=["GET", "POST"])
def ask(product: str) -> ResponseReturnValue:
    """Ask for an address, and answer in the same way whoever it belongs to: known or not, subscribed, closed, mailed enough today."""
    found = find_product(product)
    form = SubscribeForm(data={"email": current_user.email} if current_user.is_authenticated else None)
    if form.validate_on_submit():
        if not limits.take(_SCOPE, current_settings().subscribe_limit):
            return _too_many()
        topics = form.topics()
        try:
            with transaction():
                address = opt_in.ask_address(form.email.data or "", form.name.data or "", found, topics, now=clock.now())
        except Invalid as error:
            refuse(form, error)
        else:
            wanted = in_words(topics)
            return render_template("releases/subscribe_sent.html", product=found, address=address, wanted=wanted, days=requests.LASTS.days)
    return render_template("releases/subscribe.html", product=found, form=form, words=WORDS), 400 if form.errors else 200


def _too_many() -> ResponseReturnValue:
    """More addresses were entered by this client than SUBSCRIBE_LIMIT allows."""
    seconds = limits.seconds_left(_SCOPE, current_settings().subscribe_limit)
    message = (
        "So many addresses were entered from your network that we wait before we write to more. "
        f"Try again in {max(1, seconds // 60)} minutes."
    )
    return limits.too_many("Too many addresses", message, seconds)
