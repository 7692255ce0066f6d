"""The form by which staff erase a person."""

from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import DataRequired


class EraseForm(FlaskForm):
    """The address is typed in, so that nobody is erased by a slip."""

    address = StringField("Address of the person, to confirm", [DataRequired("Type the address.")], render_kw={"autocomplete": "off"})
