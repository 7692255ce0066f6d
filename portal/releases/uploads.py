"""Receiving a build over HTTP: the body goes straight into storage, and never lies in memory or in a second file.

The views that receive builds are exempt from the global CSRF check, which would have the whole body read before anybody
asked who sends it; the check is made here instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, cast

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from portal import signatures
from portal.config import current_settings
from portal.database import end_read
from portal.errors import Conflict, Invalid, PortalError
from portal.releases import builds
from portal.releases.file_types import Inspection
from portal.releases.filenames import check_filename
from portal.releases.models import Release, ReleaseState
from portal.storage import Away, Incoming, Stored, TooLarge, store
from portal.web import form_tokens
from portal.web.formatting import file_size

# What a form adds around the bytes of its file: boundaries, headers, and the other fields.
FORM_OVERHEAD = 64 * 1024
# What the parser may hold at a time: the typed fields, but also what it has read of a file and not yet written, two blocks of 64 KB.
PARSER_MEMORY = 1_000_000
_TOKEN_HEADER = "X-CSRFToken"  # nosec B105 # noqa: S105 - the name of a header


@dataclass(frozen=True)
class Arrival:
    """A file that is in storage, with the digest that signatures are made over, and its signature, if one came with it."""

    stored: Stored
    blake2b: str
    signature: str | None


@dataclass(frozen=True)
class Upload:
    """A form that has arrived: its fields, and its file, stored or refused."""

    fields: dict[str, str]
    filename: str
    outcome: Arrival | PortalError

    def arrival(self) -> Arrival:
        """Return what was stored. Raises what was wrong with the file or its signature."""
        if isinstance(self.outcome, PortalError):
            raise self.outcome
        return self.outcome


# Given a file's name, its signature and its BLAKE2b: the signature, cleaned. Raises what is wrong with it.
CheckSignature = Callable[[str, bytes, str], str]


def receive_build(release: Release, *, from_program: bool = False) -> Upload:
    """Read the current request's form into storage: its one file, and beside it, if it comes, the file with its signature.

    Whether the release takes a build of that name is asked before its bytes are read; no database connection is held while they
    come. What is wrong with the file or its signature alone stands in the answer, beside the fields that were typed; then
    nothing is stored.
    Raises TooLarge by the announced length, before anything is read, or when more bytes come; Invalid for a body that is no
    such form, unread if it says so (the parser would hold the whole of a URL-encoded one); CSRFError, unless it comes
    `from_program`, which a token let in and no cookie. Nothing is left behind then.
    """
    limit_bytes, product = current_settings().max_build_bytes, release.product
    names, is_draft = {build.filename for build in release.builds}, release.state is ReleaseState.DRAFT
    end_read()

    def accept(name: str) -> None:
        builds.refuse_unless_open(check_filename(name), is_draft, names)

    def check_signature(name: str, signature: bytes, blake2b: str) -> str:
        return builds.check_signature(product, name, signature, blake2b)

    if _TOKEN_HEADER in request.headers and not from_program:
        form_tokens.check(request.headers[_TOKEN_HEADER])
    if request.mimetype != "multipart/form-data":
        raise Invalid("Choose a file. What arrived holds none: send it as multipart/form-data.", "file")
    request.max_content_length = limit_bytes + FORM_OVERHEAD
    with store().receive(limit_bytes) as incoming:
        parts = _Parts(incoming, accept)
        parser = FormDataParser(parts.open, max_form_memory_size=PARSER_MEMORY, max_form_parts=10, silent=False)
        try:
            _, fields, _ = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
        except (RequestEntityTooLarge, TooLarge):
            raise TooLarge(f"The file is too large: the limit is {file_size(limit_bytes)}. Zip it, or split it.", "file") from None
        except ValueError:
            raise Invalid("The upload arrived damaged. Send it again.", "file") from None
        if _TOKEN_HEADER not in request.headers and not from_program:
            form_tokens.check(fields.get("csrf_token"))
        return Upload(fields.to_dict(), parts.name, parts.finish(check_signature))


class _Parts:
    """Where the form's parser puts files. One that is not wanted is read to its end and dropped: a browser that is cut off
    while it sends shows a broken connection, not the answer with the reason."""

    def __init__(self, incoming: Incoming, accept: Callable[[str], object]) -> None:
        self.name = ""
        self._incoming = incoming
        self._accept = accept
        self._build: _BuildPart | None = None
        self._signature: _SignaturePart | None = None
        self._refusal: PortalError | None = None

    def open(
        self, total_content_length: int | None, content_type: str | None, filename: str | None, content_length: int | None = None
    ) -> IO[bytes]:
        """Return where the file of this name goes. The parser does not say which field it is in; the name tells a signature."""
        part: _BuildPart | _SignaturePart | _Dropped
        if not filename:  # a field that was left empty
            part = _Dropped()
        elif filename.lower().endswith(signatures.ENDING) and self._signature is None:
            part = self._signature = _SignaturePart()
        else:
            part = self._open_build(filename)
        return cast(IO[bytes], part)

    def _open_build(self, filename: str) -> "_BuildPart | _Dropped":
        try:
            if self.name:
                raise Invalid("Send one file at a time.", "file")
            self.name = filename
            self._accept(filename)
        except PortalError as error:
            self._refusal = error
            return _Dropped()
        self._build = _BuildPart(self._incoming, filename)
        return self._build

    def finish(self, check_signature: CheckSignature) -> Arrival | PortalError:
        """Store the file, if nothing is wrong with it or its signature."""
        try:
            if self._refusal is not None:
                raise self._refusal
            if self._build is None:
                raise Invalid("Choose a file.", "file")
            blake2b = self._build.finish()
            signature = check_signature(self.name, self._signature.data, blake2b) if self._signature is not None else None
            return Arrival(self._incoming.finish(), blake2b, signature)
        except (Invalid, Conflict, Away) as error:
            return error


class _BuildPart:
    """A build on its way into storage, looked at as it passes. Once it is known to be the wrong file, or storage has gone away, the
    rest is dropped."""

    def __init__(self, incoming: Incoming, filename: str) -> None:
        self._incoming = incoming
        self._inspection = Inspection(filename)
        self._refusal: PortalError | None = None

    def write(self, data: bytes) -> int:
        """Take in `data`. Raises TooLarge."""
        if self._refusal is not None:
            return len(data)
        try:
            self._inspection.see(data)
            self._incoming.write(data)
        except TooLarge:
            raise
        except (Invalid, Away) as error:
            self._refusal = error
            self._incoming.close()  # at once: the rest may take long to come, and others want the room on a full disk
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def finish(self) -> str:
        """Return the BLAKE2b of the file. Raises Invalid if it is not what its name says; Away if it could not be stored."""
        if self._refusal is not None:
            raise self._refusal
        return self._inspection.finish()


class _SignaturePart:
    """A signature, held in memory: as much of it as one can have, and one byte more, which tells that it is none."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += data[: signatures.LONGEST_BYTES + 1 - len(self.data)]
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0


class _Dropped:
    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0
