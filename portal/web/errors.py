"""Errors as pages, for programs as plain text: what happened, why, and what to do next. Never a stack trace."""

import logging
import secrets
from http import HTTPStatus

from flask import Flask, Response, current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, Unauthorized

from portal import errors
from portal.database import NO_ANSWER, db
from portal.storage import Away
from portal.web.formatting import file_size

log = logging.getLogger(__name__)

TEXTS = {
    400: ("We could not read that request", "Part of it was missing or malformed. Go back, check what you entered, and send it again."),
    404: (
        "There is nothing here",
        "The address may be mistyped, or the page is not yours to see. Go to the home page and look from there.",
    ),
    405: ("That does not work this way", "This address does not answer to that kind of request. Go back and use the button on the page."),
    409: ("That was overtaken", "Something changed in the meantime. Go back, reload the page, and try again."),
    413: ("The file is too large", "Send a smaller file or zip it."),
    429: ("Too many tries", "Wait a minute, then try again."),
    503: ("The portal is busy", "Your request was not carried out and nothing was lost. Try again in a few seconds."),
}
FAILED = (
    "Something went wrong on our side",
    "We logged it. Nothing you sent was half saved. Try again; if it happens again, write to us and give the reference.",
)
STORAGE_RETRY_SECONDS = 30


def page(code: int, *, title: str | None = None, message: str | None = None, reference: str | None = None) -> ResponseReturnValue:
    """Render the error page for an HTTP status."""
    default_title, default_message = TEXTS.get(code, FAILED if code >= 500 else TEXTS[400])
    body = render_template(
        "errors/error.html",
        code=code,
        title=title or default_title,
        message=message or default_message,
        reference=reference,
        action_url=url_for("home.index"),
        action_label="Go to the home page",
    )
    return body, code


def refused(
    title: str, reason: str, who_can_fix: str, *, action_url: str | None = None, action_label: str | None = None
) -> ResponseReturnValue:
    """Render the page for somebody who is known but not entitled: the plain reason, and who can change it."""
    body = render_template(
        "errors/refused.html", title=title, reason_text=reason, who_can_fix=who_can_fix, action_url=action_url, action_label=action_label
    )
    return body, 403


def in_words(status: HTTPStatus, *sentences: str) -> Response:
    """Answer a program with plain text, a sentence a line: it shows no pages."""
    response = Response("\n".join(sentences) + "\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _sign_in_first(error: Unauthorized) -> ResponseReturnValue:
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("security.login", next=target))


def _stale_form(error: CSRFError) -> ResponseReturnValue:
    return page(
        400,
        title="This form is no longer valid",
        message="It was opened in another session, or cookies are off. Go back, copy what you wrote, reload the page, send it again.",
    )


def _too_large(error: RequestEntityTooLarge) -> ResponseReturnValue:
    limit = request.max_content_length
    return page(413, message=f"The limit is {file_size(limit)}. Send a smaller file or zip it." if limit else None)


def _http_error(error: HTTPException) -> ResponseReturnValue:
    return error if error.code is None or error.code < 400 else page(error.code)


def _not_found(error: errors.NotFound) -> ResponseReturnValue:
    return page(404)


def _conflict(error: errors.Conflict) -> ResponseReturnValue:
    return page(409, message=str(error))


def _refused_input(error: errors.PortalError) -> ResponseReturnValue:
    return page(400, message=str(error))


def _stop_asking_the_database() -> None:
    """Give up the session, and render the error page as for a stranger: its frame must not query what just failed."""
    db.session.remove()
    g._login_user = current_app.login_manager.anonymous_user()  # type: ignore[attr-defined]


def _not_for_the_database(error: DataError) -> ResponseReturnValue:
    """Something no column can hold, such as a NUL character in an address; it cannot be the key of anything either."""
    _stop_asking_the_database()
    return page(400)


def _database_busy(error: Exception) -> ResponseReturnValue:
    _stop_asking_the_database()
    log.exception("the database did not answer")
    response = make_response(page(503))
    response.headers["Retry-After"] = "5"
    return response


def _storage_away(error: Away) -> ResponseReturnValue:
    g.pop("_login_user", None)  # it was let go of together with the connection; the page's frame asks for it again
    response = make_response(page(503, title="The builds are out of reach", message=str(error)))
    response.headers["Retry-After"] = str(STORAGE_RETRY_SECONDS)
    return response


def _failed(error: Exception) -> ResponseReturnValue:
    _stop_asking_the_database()
    reference = secrets.token_hex(4)
    log.exception("request failed, reference %s", reference)
    return page(500, reference=reference)


def init_app(app: Flask) -> None:
    """Answer every error with a page."""
    app.register_error_handler(Unauthorized, _sign_in_first)
    app.register_error_handler(CSRFError, _stale_form)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(errors.NotFound, _not_found)
    app.register_error_handler(errors.Conflict, _conflict)
    app.register_error_handler(errors.PortalError, _refused_input)
    app.register_error_handler(DataError, _not_for_the_database)
    for no_answer in (errors.Busy, *NO_ANSWER):
        app.register_error_handler(no_answer, _database_busy)
    app.register_error_handler(Away, _storage_away)
    app.register_error_handler(Exception, _failed)
