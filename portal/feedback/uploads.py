"""Receiving a form with files over HTTP: each file goes straight into storage, looked at as it passes.

The views that use this are exempt from the global CSRF check, which would have the whole body read first; the check is made
here. Files become durable only once the form has arrived, whole, from a page of ours and from somebody we know.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, cast

from flask import g, request
from flask_wtf.csrf import CSRFError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from portal.errors import Invalid, PortalError
from portal.feedback import attachments
from portal.feedback.attachments import Arrived, Limits
from portal.storage import Away, Incoming, TooLarge, store
from portal.web import form_tokens
from portal.web.formatting import file_size

# The typed fields at their longest, and what a form adds around them.
TEXT_BYTES = 500_000
# What the parser may hold at a time: the typed fields, but also what it has read of a file and not yet written.
PARSER_MEMORY = 1_000_000
# Files beyond the limits are read and dropped, so that the page comes back with the text; up to so many times what is taken, of
# people we know (deploy/nginx.conf lets as much through).
PATIENCE = 3
MOST_PARTS = 60


@dataclass(frozen=True)
class Received:
    """A form that has arrived: its fields, the files that are in storage, and what was wrong with others.

    `is_valid` says that its token holds, so it may be acted on; otherwise it came from a page of ours, and may be kept.
    """

    fields: MultiDict[str, str]
    is_valid: bool
    files: list[Arrived] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def text(self, *names: str) -> Mapping[str, str]:
        """Return what was typed into these fields, if they came."""
        return {name: self.fields[name] for name in names if name in self.fields}


def receive(limits: Limits, *, from_somebody_known: bool) -> Received:
    """Read the current request's form. Files of strangers are left out.

    Raises CSRFError for a form that no page of ours sent; RequestEntityTooLarge, unread, for one far beyond the limits; Invalid
    for one that arrived damaged; Away. Nothing is left in storage then.
    """
    if request.mimetype != "multipart/form-data":
        return Received(request.form, _check(request.form.get("csrf_token")))
    patience = PATIENCE if from_somebody_known else 1
    request.max_content_length = TEXT_BYTES + max(1, limits.number) * limits.bytes_each * patience
    with ExitStack() as cleanup:
        parts = _Parts(limits if from_somebody_known else None, cleanup)
        parser = FormDataParser(parts.open, max_form_memory_size=PARSER_MEMORY, max_form_parts=MOST_PARTS, silent=False)
        try:
            _, fields, _ = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
        except RequestEntityTooLarge:
            raise
        except ValueError:
            raise Invalid("The form arrived damaged. Send it again.") from None
        is_valid = _check(fields.get("csrf_token"))
        files, refusals = parts.finish()
        return Received(fields, is_valid, files, refusals, parts.left_out)


def _check(token: str | None) -> bool:
    """Say whether the form may be acted on. Raises CSRFError if it may not even be kept."""
    if form_tokens.is_valid(token):
        g.csrf_valid = True  # Flask-WTF's forms ask this before they check once more
        return True
    if not form_tokens.sent_from_here():
        raise CSRFError("The form came from no page of ours.")
    return False


class _Parts:
    """Where the form's parser puts files. What is not wanted is read to its end and dropped: a browser that is cut off while it
    sends shows a broken connection, not the page with the text."""

    def __init__(self, limits: Limits | None, cleanup: ExitStack) -> None:
        self._limits = limits
        self._cleanup = cleanup
        self._parts: list[_Part] = []
        self._refusals: list[str] = []
        self.left_out: list[str] = []

    def open(
        self, total_content_length: int | None, content_type: str | None, filename: str | None, content_length: int | None = None
    ) -> IO[bytes]:
        """Return where the file of this name goes."""
        return cast(IO[bytes], self._open(filename) if filename else _Dropped())

    def _open(self, filename: str) -> "_Part | _Dropped":
        if self._limits is None:
            self.left_out.append(filename)
            return _Dropped()
        if len(self._parts) == self._limits.number:
            self._refuse(f"More than {self._limits.number} files do not go with one text. Leave some out, or zip them.")
            return _Dropped()
        try:
            name = attachments.check_name(filename)
            incoming = self._cleanup.enter_context(store().receive(self._limits.bytes_each))
        except PortalError as error:
            self._refuse(str(error))
            return _Dropped()
        part = _Part(name, incoming, self._limits)
        self._parts.append(part)
        return part

    def _refuse(self, sentence: str) -> None:
        if sentence not in self._refusals:
            self._refusals.append(sentence)

    def finish(self) -> tuple[list[Arrived], list[str]]:
        """Make the files durable that nothing is wrong with; return them, and what is wrong with the others."""
        arrived = []
        for part in self._parts:
            try:
                arrived.append(part.finish())
            except PortalError as error:
                self._refuse(str(error))
        return arrived, self._refusals


class _Part:
    """A file on its way into storage. Once something is wrong with it, the rest is dropped."""

    def __init__(self, filename: str, incoming: Incoming, limits: Limits) -> None:
        self._filename = filename
        self._incoming = incoming
        self._limits = limits
        self._inspection = attachments.Inspection(filename, limits)
        self._refusal: PortalError | None = None

    def write(self, data: bytes) -> int:
        if self._refusal is None:
            self._take(data)
        return len(data)

    def _take(self, data: bytes) -> None:
        try:
            self._inspection.see(data)
            self._incoming.write(data)
        except TooLarge:
            limit = file_size(self._limits.bytes_each)
            self._refusal = Invalid(f"{self._filename} is larger than {limit}, the most for one file. Zip it, or send part of it.", "files")
            self._incoming.close()
        except Away as error:
            self._refusal = error
            self._incoming.close()

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def finish(self) -> Arrived:
        """Make the file durable. Raises what is wrong with it."""
        if self._refusal is not None:
            raise self._refusal
        if self._incoming.size == 0:
            raise Invalid(f"{self._filename} is empty. Choose the file again; what was sent had no bytes.", "files")
        self._inspection.finish()
        return Arrived(self._filename, self._incoming.finish())


class _Dropped:
    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0
