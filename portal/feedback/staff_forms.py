"""The forms of product staff beside answer and note. What is wrong with their values the middle says."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, IntegerField, RadioField, StringField
from wtforms.widgets import HiddenInput

from portal.feedback.models import CallChannel

CHANNELS = {CallChannel.PHONE.value: "On the phone", CallChannel.MAIL.value: "By mail", CallChannel.MEETING.value: "At a meeting"}


class TagForm(FlaskForm):
    """A tag to put on an item."""

    tag = StringField("Tag")


class RenameForm(FlaskForm):
    """Another name for a tag. `seen` is the one that the editor saw."""

    name = StringField("Name")
    seen = HiddenField()


class CallForm(FlaskForm):
    """A vote that somebody asked the vendor to note."""

    contract = StringField("Contract number or organisation")
    channel = RadioField("How did they ask?", choices=CHANNELS, default=CallChannel.PHONE.value, validate_choice=False)
    words = StringField("Who asked, and in what words")


class MergeForm(FlaskForm):
    """The decision to merge two items, knowing these revisions of them."""

    item_revision = IntegerField(widget=HiddenInput())
    target_revision = IntegerField(widget=HiddenInput())
