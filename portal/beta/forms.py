"""The programme's two forms."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, TextAreaField
from wtforms.validators import DataRequired


class AcceptTerms(FlaskForm):
    """`terms_version` is the version that was read; left out, the current one is meant."""

    accept_terms = BooleanField(
        "I have read the beta terms and may accept them",
        validators=[DataRequired("Tick the box to accept the terms; without that we cannot give you the files.")],
    )
    terms_version = HiddenField()


class PublishTerms(FlaskForm):
    text = TextAreaField("Terms", validators=[DataRequired("Enter the terms.")])
