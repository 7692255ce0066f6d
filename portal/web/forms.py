"""Forms and what the portal refuses."""

from flask_wtf import FlaskForm

from portal.errors import PortalError


def refuse(form: FlaskForm, error: PortalError) -> None:
    """Show a refusal in the form: at the field it names, if the form has that, else above the form."""
    name = getattr(error, "field", None)
    if name and name in form:
        form[name].errors = [*form[name].errors, str(error)]
    else:
        form.form_errors.append(str(error))
