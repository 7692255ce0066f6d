"""The form of a product."""

from flask_wtf import FlaskForm
from wtforms import RadioField, StringField, TextAreaField
from wtforms.validators import DataRequired

from portal.products.models import StableAccess

ACCESS = {
    StableAccess.PUBLIC.value: "Everybody, without signing in",
    StableAccess.CUSTOMERS.value: "Every customer",
    StableAccess.PRIORITY.value: "The named contacts of a priority-support contract",
}


class EditProduct(FlaskForm):
    name = StringField("Name", [DataRequired("Enter the name.")])
    summary = TextAreaField("Summary")
    stable_access = RadioField("Who may download stable builds", choices=ACCESS, default=StableAccess.CUSTOMERS.value)
    signing_key = StringField("Signing key")


class NewProduct(EditProduct):
    slug = StringField("Slug", [DataRequired("Enter the slug.")])
