"""Forms about notices."""

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, EmailField, HiddenField, SelectMultipleField, StringField
from wtforms.validators import DataRequired

from portal.notices.models import Topic
from portal.notices.subscriptions import Offer
from portal.notices.suppression import REASON_LENGTH


class PreferencesForm(FlaskForm):
    """One checkbox for each topic of each product; its value is "<product id>:<topic>". `act` is set by the page's other buttons."""

    wanted = SelectMultipleField("Notices", choices=[])
    act = HiddenField()

    def offer(self, offers: list[Offer]) -> None:
        """Accept the topics of `offers`, and no others."""
        values = [value_of(offer.product_id, choice.topic) for offer in offers for choice in offer.choices]
        self.wanted.choices = {value: value for value in values}

    def chosen(self) -> set[tuple[int, Topic]]:
        """Return what was ticked, as product id and topic."""
        pairs = (value.split(":") for value in self.wanted.data or [])
        return {(int(product_id), Topic(topic)) for product_id, topic in pairs}


class SuppressForm(FlaskForm):
    """An address that mail must not go to, and why."""

    address = StringField("Address", [DataRequired("Enter the address.")], render_kw={"maxlength": 254, "autocomplete": "off"})
    reason = StringField("Reason", [DataRequired("Say why.")], render_kw={"maxlength": REASON_LENGTH, "autocomplete": "off"})


def value_of(product_id: int, topic: Topic) -> str:
    """The value of a checkbox."""
    return f"{product_id}:{topic.value}"


class SubscribeForm(FlaskForm):
    """Anybody asks for release notices of a product. One box for each topic that anybody can ask for, named after it."""

    email = EmailField("Email address", [DataRequired("Enter your email address.")], render_kw={"autocomplete": "email", "maxlength": 254})
    name = StringField("Your name (optional)", render_kw={"autocomplete": "name", "maxlength": 120})
    minor = BooleanField("Minor releases", default=True)
    major = BooleanField("Major releases", default=True)

    def topics(self) -> list[Topic]:
        """Return what was ticked."""
        return [topic for topic, field in ((Topic.MINOR, self.minor), (Topic.MAJOR, self.major)) if field.data]

    def validate(self, extra_validators: Any = None) -> bool:
        fine = super().validate(extra_validators)
        if not self.topics():
            self.minor.errors = ["Choose minor releases, major releases or both."]
        return fine and bool(self.topics())
