"""The environment in which mails are rendered, and what a template's failure is called.

Templates see the app's filters and a few of their own. One that asks for a name nobody gave it fails: no mail goes out with a hole
in it.
"""

import traceback
from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app
from jinja2 import Environment, StrictUndefined, Template, TemplateNotFound, TemplateSyntaxError

from portal.database import NO_ANSWER
from portal.notices import mail_text, mime
from portal.notices.slots import MarkerLost
from portal.web import formatting

LONGEST_REASON = 300


class Unrenderable(Exception):
    """The text of a notice cannot be rendered, for anybody. The message, at most 300 characters, tells staff why."""

    def __init__(self, message: str) -> None:
        text = mime.one_line(message)
        super().__init__(text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…")


def init_app(app: Flask) -> None:
    """Prepare the environment in which mails are rendered: the app's templates, with filters of their own."""
    environment = app.jinja_env.overlay(undefined=StrictUndefined)
    environment.filters = {
        **app.jinja_env.filters,
        "mail_html": mail_text.mail_html,
        "mail_plain": mail_text.mail_plain,
        "wrapped": mail_text.wrapped,
        "long_date": formatting.long_date,
    }
    app.extensions["portal.mail_environment"] = environment


def mail_environment() -> Environment:
    environment: Environment = current_app.extensions["portal.mail_environment"]
    return environment


def find(name: str) -> Template:
    """Raises Unrenderable for a template that is missing or cannot be read."""
    try:
        return mail_environment().get_template(name)
    except TemplateNotFound as error:
        raise Unrenderable(f"The template {error} is missing.") from error
    except TemplateSyntaxError as error:
        raise Unrenderable(f"The template {name} cannot be read: {error.message} (line {error.lineno})") from error


def render(name: str, variables: Mapping[str, Any]) -> str:
    """Raises Unrenderable. A database that does not answer is no fault of the template."""
    template = find(name)
    try:
        return template.render(variables)
    except (*NO_ANSWER, Unrenderable):
        raise
    except TemplateNotFound as error:
        raise Unrenderable(f"The template {error} is missing.") from error
    except MarkerLost as error:
        raise Unrenderable(f"The template {_place(error, name)} {error}.") from error
    except Exception as error:
        raise Unrenderable(f"The template {_place(error, name)} fails: {words(error)}") from error


def _place(error: Exception, name: str) -> str:
    """Where in the templates an error came about, as far as Jinja tells."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        _, found, rest = frame.filename.rpartition("/templates/")
        if found:
            return f"{rest}, line {frame.lineno},"
    return name


def words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
