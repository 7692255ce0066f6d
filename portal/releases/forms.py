"""The forms of release managers."""

from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Optional

from portal.account.forms import CivilDateField
from portal.products.models import Product
from portal.releases.drafts import Words
from portal.releases.models import Channel, Kind

CHANNELS = {Channel.BETA.value: "Beta, for priority subscribers", Channel.STABLE.value: "Stable"}
KINDS = {"": "As the version says", "point": "Point release", "minor": "Minor release", "major": "Major release"}


class WordsForm(FlaskForm):
    """What a release says. `revision` is the one the editor read, so that the second of two editors is told."""

    revision = HiddenField()
    summary = StringField("Summary")
    notes = TextAreaField("Release notes")
    known_issues = TextAreaField("Known issues")
    what_to_test = TextAreaField("What to test")

    def words(self) -> Words:
        return Words(*(field.data or "" for field in (self.summary, self.notes, self.known_issues, self.what_to_test)))

    def read_revision(self) -> int:
        """The revision as a number; 0, which no release has, for anything that is none."""
        text = self.revision.data or ""
        return int(text) if text.isdecimal() and len(text) < 10 else 0


class DraftForm(WordsForm):
    version = StringField("Version", [DataRequired("Enter the version.")])
    channel = RadioField("Channel", choices=CHANNELS, default=Channel.BETA.value)
    kind = SelectField("Kind", choices=KINDS, default="")
    expires_on = CivilDateField("Last day it runs", [Optional()])

    def identity(self) -> dict[str, Any]:
        """The arguments of `create_release` and `edit_draft` beside the words."""
        expires_on: date | None = self.expires_on.data
        return {
            "version": self.version.data or "",
            "channel": Channel(self.channel.data),
            "kind": Kind(self.kind.data) if self.kind.data else None,
            "expires_on": expires_on,
        }


class NewRelease(DraftForm):
    product = SelectField("Product")

    def offer(self, products: list[Product]) -> None:
        self.product.choices = {product.slug: product.name for product in products}


class WithdrawForm(FlaskForm):
    reason = TextAreaField("Reason", [DataRequired("Give the reason. People who have the files need it.")])
    tell_downloaders = BooleanField("Mail the reason to everybody who downloaded it", default=True)


class BuildForm(FlaskForm):
    """Shown, never validated: an upload is read as it comes in (`portal.releases.uploads`)."""

    platform = StringField("Platform")
