"""Forms about notices."""

from flask_wtf import FlaskForm
from wtforms import SelectMultipleField

from portal.notices.models import Topic
from portal.notices.subscriptions import Offer


class PreferencesForm(FlaskForm):
    """One checkbox for each topic of each product; its value is "<product id>:<topic>"."""

    wanted = SelectMultipleField("Notices", choices=[])

    def offer(self, offers: list[Offer]) -> None:
        """Accept the topics of `offers`, and no others."""
        values = [value_of(offer.product_id, choice.topic) for offer in offers for choice in offer.choices]
        self.wanted.choices = {value: value for value in values}

    def chosen(self) -> set[tuple[int, Topic]]:
        """Return what was ticked, as product id and topic."""
        pairs = (value.split(":") for value in self.wanted.data or [])
        return {(int(product_id), Topic(topic)) for product_id, topic in pairs}


def value_of(product_id: int, topic: Topic) -> str:
    """The value of a checkbox."""
    return f"{product_id}:{topic.value}"
