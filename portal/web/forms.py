"""Forms and what the portal refuses."""

from flask import Flask, request
from flask_wtf import FlaskForm
from werkzeug.exceptions import UnsupportedMediaType

from portal.errors import PortalError


def init_app(app: Flask) -> None:
    """Take forms as browsers send them, and as nothing else.

    The libraries would read JSON as well, where a field may be a number or a list, and which what is asked of a form before does not see.
    """

    @app.before_request
    def refuse_json() -> None:
        if request.is_json:
            raise UnsupportedMediaType


def refuse(form: FlaskForm, error: PortalError) -> None:
    """Show a refusal in the form: at the field it names, if the form has that, else above the form."""
    name = getattr(error, "field", None)
    if name and name in form:
        form[name].errors = [*form[name].errors, str(error)]
    else:
        form.form_errors.append(str(error))
