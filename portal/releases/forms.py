"""The forms of release managers."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from wtforms import BooleanField, HiddenField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Optional
from wtforms.widgets import DateTimeLocalInput

from portal.account.forms import CivilDateField
from portal.errors import Invalid
from portal.products.models import Product
from portal.releases.drafts import Words
from portal.releases.models import BuildKind, Channel, Kind, Release
from portal.web.formatting import kind_version

CHANNELS = {Channel.BETA.value: "Beta, for priority subscribers", Channel.STABLE.value: "Stable"}
BUILD_KINDS = {
    BuildKind.INSTALLER.value: "Installer",
    BuildKind.PORTABLE.value: "Portable, runs without installing",
    BuildKind.SYMBOLS.value: "Symbols, for debuggers",
    BuildKind.DOCUMENT.value: "Document",
}
KINDS = {"": "As the version says", "point": "Point release", "minor": "Minor release", "major": "Major release"}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0


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
        return _number(self.revision.data)


class DraftForm(WordsForm):
    version = StringField("Version", [DataRequired("Enter the version.")])
    channel = RadioField("Channel", choices=CHANNELS, default=Channel.BETA.value)
    kind = SelectField("Kind", choices=KINDS, default="")
    expires_on = CivilDateField("Last day it runs", [Optional()])
    lower = BooleanField("Yes, a version lower than the newest is meant")

    def identity(self) -> dict[str, Any]:
        """The arguments of `create_release` and `edit_draft` beside the words."""
        expires_on: date | None = self.expires_on.data
        return {
            "version": self.version.data or "",
            "channel": Channel(self.channel.data),
            "kind": Kind(self.kind.data) if self.kind.data else None,
            "expires_on": expires_on,
            "ask_if_lower": not self.lower.data,
        }


class NewRelease(DraftForm):
    product = SelectField("Product")

    def offer(self, products: list[Product]) -> None:
        self.product.choices = {product.slug: product.name for product in products}


class ScheduleForm(FlaskForm):
    """`revision` is the one that was looked at."""

    revision = HiddenField()
    publish_at = StringField("Date and time", [DataRequired("Choose date and time.")], widget=DateTimeLocalInput())

    def read_revision(self) -> int:
        return _number(self.revision.data)


class WithdrawForm(FlaskForm):
    reason = TextAreaField("Reason", [DataRequired("Give the reason. People who have the files need it.")])
    safe = SelectField("Safe version to move to")
    tell_downloaders = BooleanField("Mail the reason to everybody who downloaded it", default=True)

    def offer(self, versions: Sequence[Release]) -> None:
        named = {str(one.id): f"{kind_version(one.version)}, {one.channel.value}" for one in versions}
        self.safe.choices = {**named, "": "None: they go back to the version they had"}

    def safe_release_id(self) -> int | None:
        return int(self.safe.data) if self.safe.data else None


class BuildForm(FlaskForm):
    """Shown, never validated: an upload is read as it comes in (`portal.releases.uploads`)."""

    kind = SelectField("Kind", choices=BUILD_KINDS, default=BuildKind.INSTALLER.value)
    platform = StringField("Platform")
    architecture = StringField("Architecture")

    def read(self, fields: Mapping[str, str]) -> None:
        """Take over what was typed, as it stands in the form that arrived."""
        self.kind.data = fields.get("kind") or BuildKind.INSTALLER.value
        self.platform.data, self.architecture.data = fields.get("platform", ""), fields.get("architecture", "")

    def description(self) -> dict[str, Any]:
        """The arguments of `add_build` that say what the file is. Raises Invalid for an unknown kind."""
        if self.kind.data not in BUILD_KINDS:
            raise Invalid("Choose what the file is.", "kind")
        return {"kind": BuildKind(self.kind.data), "platform": self.platform.data or "", "architecture": self.architecture.data or ""}


class SignatureForm(FlaskForm):
    signature = FileField("Signature", [FileRequired("Choose the signature, a file that ends in .minisig.")])
