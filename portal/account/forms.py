"""The forms of people's accounts. What is true of the data is checked below, where it is stored."""

from typing import Any

from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, SelectField, StringField
from wtforms.fields import DateField
from wtforms.validators import DataRequired, InputRequired

from portal import clock
from portal.clock import time_zones


class CivilDateField(DateField):
    """A calendar date. One that cannot be read is answered with how to write it, and stays in the form as it was typed."""

    def process_formdata(self, valuelist: list[Any]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            self.data = None
            raise ValueError(f"{valuelist[0]} is no date we can read. Write it like {clock.now():%Y-%m-%d}.") from None


class OneButton(FlaskForm):
    """A form of one button: nothing but its CSRF token."""


class ProfileForm(FlaskForm):
    name = StringField("Your name", render_kw={"autocomplete": "name", "maxlength": 120})
    time_zone = SelectField("Time zone")

    def __init__(self, default_zone: str, **options: Any) -> None:
        super().__init__(**options)
        zones = sorted(zone for zone in time_zones() if "/" in zone or zone == "UTC")
        self.time_zone.choices = {"": f"The portal's: {default_zone}"} | {zone: zone.replace("_", " ") for zone in zones}


class TokenForm(FlaskForm):
    label = StringField("What it is for", [DataRequired("Say what the token is for, such as the machine it lies on.")])
    contact_id = SelectField("Contract", coerce=int)


class FeedForm(FlaskForm):
    label = StringField("What reads it", [DataRequired("Say what reads the feed, such as the name of your feed reader.")])
    contact_id = SelectField("Contract of the feed", coerce=int)


class AcceptForm(FlaskForm):
    """Accepting an invitation with a new password. The hidden address is there for password managers."""

    name = StringField("Your name", render_kw={"autocomplete": "name", "maxlength": 120})
    password = PasswordField("Password", [InputRequired("Choose a password.")], render_kw={"autocomplete": "new-password"})


class AddressChangeForm(FlaskForm):
    """A person's own new address."""

    email = EmailField("New email address", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "email"})


class CustomerForm(FlaskForm):
    """A person at a customer. `ask` is the slug of a product, or empty."""

    name = StringField("Name", render_kw={"autocomplete": "off", "maxlength": 120})
    email = EmailField("Email address", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "off"})
    organization = StringField(
        "Organisation", [DataRequired("Enter the organisation's name.")], render_kw={"list": "organizations", "autocomplete": "off"}
    )
    ask = SelectField("Ask them by mail whether they want release notices of", default="")
