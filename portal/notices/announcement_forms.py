"""The form of announcements. What is true of the data is checked where it is stored."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, InputRequired

from portal.notices import audiences
from portal.notices.announcements import LONGEST_SUBJECT, TOPICS, Words
from portal.notices.models import Topic
from portal.notices.topics import WORDS
from portal.products.models import Product

ALWAYS = "always"


class AnnouncementForm(FlaskForm):
    """`revision` is the one the editor read, so that the second of two editors is told."""

    revision = HiddenField()
    product = SelectField("Product", [InputRequired("Choose the product.")])
    audience = RadioField("Who is it for?", [InputRequired("Choose who gets it.")])
    topic = RadioField("Which choice does it respect?", [InputRequired("Choose whether people can have switched it off.")])
    subject = StringField("Subject", [DataRequired("Enter the subject.")], render_kw={"maxlength": LONGEST_SUBJECT, "autocomplete": "off"})
    body = TextAreaField("Text", [DataRequired("Write the text.")])
    has_products = False

    def offer(self, products: list[Product]) -> None:
        """Fill in what can be chosen. Nothing is chosen beforehand where there is a choice: a mistake would be mailed."""
        slugs = {product.slug: product.name for product in products}
        self.has_products = bool(slugs)
        self.product.choices = slugs if len(slugs) == 1 else {"": "Choose a product"} | slugs
        self.audience.choices = {audience.name: audience.label for audience in audiences.known()}
        self.topic.choices = {ALWAYS: "None: it always goes out"} | {topic.value: WORDS[topic].title for topic in TOPICS}

    def words(self, product: Product) -> Words:
        """What was typed, for the product that was chosen. For a form that has validated."""
        topic = None if self.topic.data == ALWAYS else Topic(self.topic.data)
        return Words(product.id, self.subject.data or "", self.body.data or "", self.audience.data, topic)

    def read_revision(self) -> int:
        """The revision as a number; 0, which no announcement has, for anything that is none."""
        return as_revision(self.revision.data)


class SendForm(FlaskForm):
    """The one button that sends, bound to the revision that was looked at."""

    revision = HiddenField()

    def read_revision(self) -> int:
        return as_revision(self.revision.data)


def as_revision(text: str | None) -> int:
    """Return a revision as a form or an address gives it; 0, which no announcement has, for anything that is none."""
    text = text or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
