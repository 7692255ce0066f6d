"""Receiving a build over HTTP: the body goes straight into storage, and never lies in memory or in a second file.

The views that receive builds are exempt from the global CSRF check, which would have the whole body read before anybody
asked who sends it; the check is made here instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

from flask import request
from flask_wtf.csrf import CSRFError, same_origin, validate_csrf
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from wtforms import ValidationError

from portal.errors import Invalid, PortalError
from portal.storage import Incoming, Stored, TooLarge, store
from portal.web.formatting import file_size

# What a form adds around the bytes of its file: boundaries, headers, and the other fields.
FORM_OVERHEAD = 64 * 1024
# What the parser may hold at a time: the typed fields, but also what it has read of a file and not yet written, two blocks of 64 KB.
PARSER_MEMORY = 1_000_000
_TOKEN_HEADER = "X-CSRFToken"  # noqa: S105 - the name of a header


@dataclass(frozen=True)
class Upload:
    """A form that has arrived: its fields, and its file, stored or refused."""

    fields: dict[str, str]
    filename: str
    outcome: Stored | PortalError

    def stored(self) -> Stored:
        """Return what was stored. Raises what was wrong with the file."""
        if isinstance(self.outcome, PortalError):
            raise self.outcome
        return self.outcome


def receive_build(limit_bytes: int, accept: Callable[[str], object]) -> Upload:
    """Read the current request's form with its one file into storage.

    `accept` is called with the file's name before its bytes are read, and raises what is wrong with it. What is wrong with the
    file alone stands in the answer, beside the fields that were typed.
    Raises TooLarge by the announced length, before anything is read, or when more bytes come; Invalid for a body that is no
    such form, unread if it says so (the parser would hold the whole of a URL-encoded one); CSRFError. Nothing is left behind then.
    """
    if _TOKEN_HEADER in request.headers:
        _check_token(request.headers[_TOKEN_HEADER])
    if request.mimetype != "multipart/form-data":
        raise Invalid("Choose a file. What arrived holds none: send it as multipart/form-data.", "file")
    request.max_content_length = limit_bytes + FORM_OVERHEAD
    with store().receive(limit_bytes) as incoming:
        part = _FilePart(incoming, accept)
        parser = FormDataParser(part.open, max_form_memory_size=PARSER_MEMORY, max_form_parts=10, silent=False)
        try:
            _, fields, _ = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
        except (RequestEntityTooLarge, TooLarge):
            raise TooLarge(f"The file is too large: the limit is {file_size(limit_bytes)}. Zip it, or split it.", "file") from None
        except ValueError:
            raise Invalid("The upload arrived damaged. Send it again.", "file") from None
        if _TOKEN_HEADER not in request.headers:
            _check_token(fields.get("csrf_token"))
        return Upload(fields.to_dict(), part.name, part.finish())


class _FilePart:
    """Where the form's parser puts the file. A file that is not wanted is read to its end and dropped: a browser that is
    cut off while it sends shows a broken connection, not the answer with the reason."""

    def __init__(self, incoming: Incoming, accept: Callable[[str], object]) -> None:
        self.name = ""
        self._incoming = incoming
        self._accept = accept
        self._refusal: PortalError | None = Invalid("Choose a file.", "file")
        self._seen = False

    def open(
        self, total_content_length: int | None, content_type: str | None, filename: str | None, content_length: int | None = None
    ) -> IO[bytes]:
        try:
            if self._seen:
                raise Invalid("Send one file at a time.", "file")
            self._seen, self.name = True, filename or ""
            self._accept(self.name)
        except PortalError as error:
            self._refusal = error
            return cast(IO[bytes], _Dropped())
        self._refusal = None
        return cast(IO[bytes], self._incoming)

    def finish(self) -> Stored | PortalError:
        """Store the file, if nothing is wrong with it."""
        try:
            return self._refusal or self._incoming.finish()
        except Invalid as error:
            return error


class _Dropped:
    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0


def _check_token(token: str | None) -> None:
    """Do what Flask-WTF's own check does, for a form it has not read."""
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise CSRFError(str(error)) from None
    if request.is_secure and not same_origin(request.referrer or "", f"https://{request.host}/"):
        raise CSRFError("The referrer does not match the host.")
