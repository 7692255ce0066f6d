"""The forms of second factors."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, StringField
from wtforms.validators import DataRequired, InputRequired

ONE_TIME = {"autocomplete": "one-time-code", "inputmode": "numeric", "maxlength": 20, "spellcheck": "false", "autocapitalize": "none"}
_PRINTED = {"autocomplete": "off", "maxlength": 40, "spellcheck": "false", "autocapitalize": "none"}


class CodeForm(FlaskForm):
    """A code of the authenticator app."""

    code = StringField("Code", [InputRequired("Enter the code.")], render_kw=ONE_TIME)


class RecoveryForm(FlaskForm):
    """A code from paper. Its field is called like the app's, since either kind of code is taken in both."""

    code = StringField("Recovery code", [InputRequired("Enter one of your recovery codes.")], render_kw=_PRINTED)


class SetUpForm(CodeForm):
    """A new authenticator app's first code, and its secret as the page got it: sealed."""

    sealed = HiddenField()


class AnswerForm(FlaskForm):
    """What a passkey answered; a script fills it in."""

    answer = HiddenField()


class NameForm(FlaskForm):
    """What a passkey is called."""

    label = StringField("Name of the passkey", [DataRequired("Enter a name.")], render_kw={"maxlength": 80, "autocomplete": "off"})


class PasskeyForm(NameForm, AnswerForm):
    """A new passkey."""
