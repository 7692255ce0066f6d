"""The forms of feedback. What they refuse, the middle refuses too; here all mistakes are told at once."""

import enum
from collections.abc import Callable, Sequence
from typing import TypeVar

from flask_wtf import FlaskForm
from wtforms import Field, Form, HiddenField, IntegerField, MultipleFileField, RadioField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, ValidationError
from wtforms.widgets import HiddenInput

from portal.errors import Invalid, NotFound, PortalError
from portal.feedback import triage, writing
from portal.feedback.models import ItemKind, Severity, Status, Visibility
from portal.products.models import Product
from portal.releases.models import Release
from portal.web.formatting import kind_version
from portal.web.forms import refuse

Choice = TypeVar("Choice", bound=enum.StrEnum)

KINDS = {ItemKind.IDEA.value: "Idea", ItemKind.PROBLEM.value: "Problem", ItemKind.QUESTION.value: "Question"}
SEVERITIES = {
    "": "Choose for a problem",
    Severity.LOW.value: "Low: a nuisance, there is a way round",
    Severity.MEDIUM.value: "Medium: it costs us time",
    Severity.HIGH.value: "High: we cannot work",
}
STATUSES = {
    Status.UNDER_REVIEW.value: "Under review",
    Status.PLANNED.value: "Planned",
    Status.IN_BETA.value: "In beta",
    Status.SHIPPED.value: "Shipped",
    Status.DECLINED.value: "Not planned",
}


def _too_long(name: str, limit: int) -> Callable[[Form, Field], None]:
    """Refuse what is too long on the server, with the numbers. The browser's own limit would cut a pasted text silently."""

    def check(form: Form, field: Field) -> None:
        length = len((field.data or "").replace("\r\n", "\n").strip())
        if length > limit:
            raise ValidationError(f"The {name} has {length:,} characters; {limit:,} is the most. Shorten it.")

    return check


class ItemForm(FlaskForm):
    """A new piece of feedback."""

    product = SelectField("Product", validate_choice=False)
    kind = RadioField("What is it?", choices=KINDS, default=ItemKind.IDEA.value, validate_choice=False)
    title = StringField(
        "Title", [DataRequired("Enter a title: one line that says what it is about."), _too_long("title", writing.TITLE_LIMIT)]
    )
    body = TextAreaField("Description", [DataRequired("Describe it."), _too_long("description", writing.BODY_LIMIT)])
    version = SelectField("Version", validate_choice=False)
    severity = SelectField("How bad is it?", choices=SEVERITIES, default="", validate_choice=False)
    visibility = RadioField("Who may read it?", default=Visibility.SUBSCRIBERS.value, validate_choice=False)
    files = MultipleFileField("Attachments")
    draft = HiddenField()

    def offer(self, products: list[Product], releases: list[Release], vendor_name: str) -> None:
        """Fill the choices with what the person may write about."""
        self.products = {product.slug: product.name for product in products}
        self.versions = {release.version for release in releases}
        by_product: dict[str, dict[str, str]] = {}
        for release in releases:
            by_product.setdefault(release.product.name, {})[release.version] = kind_version(release.version)
        self.product.choices = self.products
        self.version.choices = {"": "No particular version", **by_product}
        self.visibility.choices = {
            Visibility.SUBSCRIBERS.value: "All subscribers of the product. They see your organisation, not your name.",
            Visibility.PRIVATE.value: f"Only your organisation and {vendor_name}",
        }


class CommentForm(FlaskForm):
    body = TextAreaField("Add a comment", [DataRequired("Write something first."), _too_long("comment", writing.COMMENT_LIMIT)])
    files = MultipleFileField("Attachments")
    draft = HiddenField()


class EditForm(FlaskForm):
    """Another title and body for an item. `number` is the edition the editor began from."""

    number = IntegerField(widget=HiddenInput())
    title = StringField(
        "Title", [DataRequired("Enter a title: one line that says what it is about."), _too_long("title", writing.TITLE_LIMIT)]
    )
    body = TextAreaField("Description", [DataRequired("Describe it."), _too_long("description", writing.BODY_LIMIT)])


class NoteForm(FlaskForm):
    """A staff-only note, or a comment in the product team's name."""

    body = TextAreaField("Write", [DataRequired("Write something first."), _too_long("text", writing.COMMENT_LIMIT)])
    audience = RadioField("Who reads it?", choices={"staff": "Staff only", "all": "Everybody who sees this feedback"}, default="staff")


class AnswerForm(FlaskForm):
    """Status and official response: one save, one mail."""

    revision = IntegerField(widget=HiddenInput())
    status = SelectField("Status", choices=STATUSES)
    release = SelectField("Release", coerce=int, default=0)
    version = StringField("Or a version in words", [_too_long("version", triage.VERSION_LIMIT)])
    reason = TextAreaField("Reason", [_too_long("reason", triage.REASON_LIMIT)])
    response = TextAreaField("Official response", [_too_long("response", triage.RESPONSE_LIMIT)])

    def offer(self, releases: Sequence[Release]) -> None:
        """Fill the choices with the releases that the status can name."""
        self.release.choices = {"0": "None"} | {str(release.id): release.version for release in releases}


def read_choice(kind: type[Choice], text: str | None, field: str) -> Choice:
    """Return the member of `kind` that a form names. Raises Invalid for anything else."""
    try:
        return kind(text or "")
    except ValueError:
        raise Invalid("Choose one of those offered.", field) from None


def save(form: FlaskForm, act: Callable[[], None]) -> bool:
    """Run `act` if the form is complete. What it refuses becomes an error of the form, so that nothing typed is lost."""
    if not form.validate_on_submit():
        return False
    try:
        act()
    except NotFound:
        raise
    except PortalError as error:
        refuse(form, error)
        return False
    return True
