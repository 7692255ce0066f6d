"""The forms of the vendor's own people: roles and staff tokens."""

from flask_wtf import FlaskForm
from wtforms import EmailField, SelectField, SelectMultipleField, StringField
from wtforms.validators import DataRequired
from wtforms.widgets import CheckboxInput, ListWidget

from portal.account.staff_tokens import LIFETIMES
from portal.web.guards import STAFF_ROLES

ROLES = {
    "publisher": "Publisher: releases, builds, notices, adoption",
    "product": "Product: feedback, answers, adoption",
    "accounts": "Accounts: contracts, contacts, customers",
    "support": "Support: looks contracts and customers up, changes nothing",
    "admin": "Admin: everything, and who has which role",
}


class CheckboxesField(SelectMultipleField):
    """Several of a few choices, each with a box to tick."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()


class RolesForm(FlaskForm):
    roles = CheckboxesField("Roles", choices={role: ROLES[role] for role in STAFF_ROLES})


class NewMemberForm(RolesForm):
    name = StringField("Name", [DataRequired("Enter a name.")], render_kw={"autocomplete": "off", "maxlength": 120})
    email = EmailField("Work email", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "off"})


class StaffTokenForm(FlaskForm):
    label = StringField("What it is for", [DataRequired("Say what the token is for, such as the build server it lies on.")])
    scopes = CheckboxesField("What it may do")
    days = SelectField("How long it works", coerce=int, choices={str(days): f"{days} days" for days in LIFETIMES}, default=90)
