"""A build as an HTTP answer, whole or one range, and who is asking for it.

This is an edge, shared by the betas' downloads and those of stable builds: each decides who may have the build, at this very
request, then calls `send`. No database connection is held while storage is asked, or while a file is streamed.
"""

import io
import logging
import socket
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from urllib.parse import quote

from flask import Flask, current_app, make_response, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_etags
from werkzeug.wrappers import Response

from portal import clock, signatures, storage
from portal.account import access_tokens
from portal.account.models import TokenPurpose, User
from portal.config import current_settings
from portal.database import release_connection, transaction
from portal.releases import capacity, downloads, integrity
from portal.releases.models import Build
from portal.web import errors, wrong_tokens
from portal.web.client import client_network
from portal.web.file_part import Blocks, FilePart, FileWrapper, OnEnd
from portal.web.ranges import Span, Unsatisfiable, if_range_holds, parse_range

log = logging.getLogger(__name__)

# Larger than a server's usual 8 KB, for servers and TLS set-ups that have no sendfile.
BLOCK_BYTES = 1 << 18
# A client that takes nothing for so long has left without a word, or sleeps: its thread is needed. nginx waits as long.
STALLED_SECONDS = 60
# RFC 8187, section 3.2.1: attr-char, beside letters and digits.
_ATTR_CHAR = "!#$&+-.^_`|~"
_BEARER = "bearer"
_REASONS = {
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: (
        "This range cannot be sent: the file has {size} bytes, the first of which is 0. Ask for one range of them, or for the whole file.\n"
    ),
    HTTPStatus.PRECONDITION_FAILED: "The file is another one than you have (If-Match). Download it from the beginning.\n",
}


# Who is asking -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Caller:
    """Who asks: by a session, by a personal token (then `contact_id` is the seat that the token belongs to), or nobody."""

    person: User | None
    contact_id: int | None = None

    @property
    def uses_token(self) -> bool:
        return self.contact_id is not None


def identify(now: datetime) -> Caller:
    """Return who is asking. A token given in the Authorization header goes before a session (RFC 6750, section 2.1).

    A token that is unknown, revoked, or belongs to a released seat ends the request here, with 401 in plain text;
    with 429 when this address has sent too many such tokens.
    """
    if "Authorization" not in request.headers:
        return Caller(current_user if current_user.is_authenticated else None)
    scheme, _, token = request.headers["Authorization"].partition(" ")
    token = token.strip()
    wrong_tokens.refuse_if_too_many()
    contact = access_tokens.authenticate(token, TokenPurpose.DOWNLOAD) if scheme.lower() == _BEARER else None
    if contact is None:
        wrong_tokens.count()
        refusal = errors.in_words(HTTPStatus.UNAUTHORIZED, "This token is not valid.", "It was revoked, or its seat was released.")
        refusal.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        raise HTTPException(response=refusal)
    if access_tokens.is_touch_due(token, now):
        with transaction():
            access_tokens.touch(token, now=now)
    return Caller(contact.user, contact.id)


def say(caller: Caller, status: HTTPStatus, title: str, message: str) -> ResponseReturnValue:
    """Say why there are no bytes: as a page, or to a program in plain text."""
    return errors.in_words(status, f"{title}.", message) if caller.uses_token else errors.page(status, title=title, message=message)


def refuse(caller: Caller, title: str, reason: str, who_can_fix: str) -> ResponseReturnValue:
    """Refuse somebody who is known but not entitled, with the plain reason and who can change it."""
    if caller.uses_token:
        return errors.in_words(HTTPStatus.FORBIDDEN, f"{title}.", reason, who_can_fix)
    return errors.refused(title, reason, who_can_fix, action_url=url_for("releases.index"), action_label="See stable releases")


# The build ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How one request for a build is answered. It holds plain values, so it outlives the database's session."""

    filename: str
    sha256: str
    size: int
    status: HTTPStatus
    span: Span
    with_body: bool

    @property
    def sends_bytes(self) -> bool:
        """Whether bytes of the build follow: then it is a download, to be recorded."""
        return self.with_body and self.status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}


def send(build: Build, caller: Caller, *, contract_id: int | None) -> Response:
    """Answer the current GET or HEAD of `build`, which `caller` was found to be allowed, and enter it in the ledger.

    Strangers, who may take public stable builds, leave no entry: there is no telling their requests apart. Ends the request with
    503 while too many downloads run, storage is away, or the stored bytes are known to be damaged or turn out to be missing; with
    410 if the release was withdrawn while storage was asked.
    """
    if build.damaged_at is not None:
        raise HTTPException(response=_damaged(build.filename, caller))
    settings = current_settings()
    planned, build_id = plan(build, request.method, request.headers), build.id
    accel_path = f"{settings.accel_prefix.rstrip('/')}/{storage.key(planned.sha256)}" if settings.accel_prefix else None
    user_id = caller.person.id if caller.person else None
    link = _link(planned, caller)
    sends = planned.sends_bytes and accel_path is None and link is None
    slot = _take_slot(caller, user_id) if sends else None
    source = None
    try:
        release_connection()
        source = _look_up(build_id, planned, caller, to_send=sends)
        download_id = None
        if user_id is not None and (planned.sends_bytes or link is not None):
            # Whoever has a link can take any range with it, so it grants them all.
            granted = planned.span if link is None else Span(0, planned.size - 1)
            with transaction():
                if (reason := downloads.withdrawn_meanwhile(build_id)) is not None:
                    raise HTTPException(response=make_response(say(caller, HTTPStatus.GONE, "This version was withdrawn", reason)))
                address = request.remote_addr if settings.download_address_days else None
                download_id = downloads.record(build_id, user_id, contract_id, granted, clock.now(), address=address)
        on_end = _at_the_end(current_app._get_current_object(), download_id, slot)  # type: ignore[attr-defined]
        release_connection()
        if link is not None:
            return _redirect(link)
        return answer(planned, source, accel_path=accel_path, file_wrapper=request.environ.get("wsgi.file_wrapper"), on_end=on_end)
    except BaseException:
        if source is not None:
            source.close()
        if slot is not None:
            slot.give_back()
        raise


def _link(planned: Plan, caller: Caller) -> str | None:
    """Return where the store itself hands out the build, if the caller is to be sent there.

    Programs with a token are not: many send the token on to wherever they are redirected, which must not get it. A HEAD is not:
    the link would answer to that alone. Conditions and ranges are the store's to read then (RFC 9110, section 13.2.1).
    """
    if caller.uses_token or not planned.with_body:
        return None
    return storage.store().link(planned.sha256, content_disposition(planned.filename))


def _look_up(build_id: int, planned: Plan, caller: Caller, *, to_send: bool) -> io.RawIOBase | None:
    """Open what is to be sent, or see that it is there, now, while an error page can still be sent.

    A build whose bytes are missing is marked as damaged, and staff are told, as by `portal release verify`.
    """
    try:
        if to_send:
            return storage.store().open(planned.sha256, planned.span.first, planned.span.last)
        if not storage.store().exists(planned.sha256):
            raise storage.Missing(f"not in storage: {planned.sha256}")
    except storage.Missing as missing:
        log.error("%s: run `portal release verify`", missing)
        with transaction():
            integrity.note_missing(build_id, now=clock.now())
        raise HTTPException(response=_damaged(planned.filename, caller)) from missing
    except storage.Away as away:
        if not caller.uses_token:
            raise
        refusal = errors.in_words(HTTPStatus.SERVICE_UNAVAILABLE, str(away))
        refusal.headers["Retry-After"] = str(errors.STORAGE_RETRY_SECONDS)
        raise HTTPException(response=refusal) from away
    return None


def send_signature(build: Build) -> Response:
    """Answer with the signature of a build, which the caller was found to be allowed. It is no download of its own."""
    response = Response(build.signature, content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = content_disposition(f"{build.filename}{signatures.ENDING}")
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _damaged(filename: str, caller: Caller) -> Response:
    """503, for it will be put right; without a time to come back, which nobody knows."""
    title = "This file is damaged in our storage"
    message = (
        f"We do not hand out {filename}, because what we have of it is not what we published. Try again another day; if you need "
        f"it soon, write to {current_settings().support_email}."
    )
    return make_response(say(caller, HTTPStatus.SERVICE_UNAVAILABLE, title, message))


def _redirect(link: str) -> Response:
    """Send the client to a link that lives for seconds, and is to be kept by nobody."""
    response = Response(status=HTTPStatus.FOUND)
    response.headers["Location"] = link
    response.headers["Cache-Control"] = "private, no-store"
    return response


def _take_slot(caller: Caller, user_id: int | None) -> capacity.Slot:
    """Take a slot for a download that the portal sends itself, or end the request with 503 and when to try again."""
    try:
        slot = capacity.slots().take(client_network() if user_id is None else user_id)
    except capacity.Full as full:
        if full.own:
            title, message = "You have many downloads running", "Let one of them end, then start this one again."
        else:
            title, message = (
                "Many downloads are running",
                "Nothing is wrong with yours. Try again in a minute; it goes on where it stopped.",
            )
        refusal = make_response(say(caller, HTTPStatus.SERVICE_UNAVAILABLE, title, message))
        refusal.headers["Retry-After"] = str(capacity.RETRY_SECONDS)
        raise HTTPException(response=refusal) from None
    _give_up_when_stalled(request.environ.get("gunicorn.socket"))
    return slot


def _give_up_when_stalled(connection: socket.socket | None) -> None:
    """Let the kernel end the connection when nothing of what was sent is taken for STALLED_SECONDS (tcp(7), TCP_USER_TIMEOUT).

    A timeout of Python's would wake the thread for each piece of the file, where now one call of sendfile sends all of it.
    """
    if connection is not None and connection.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        with suppress(OSError):  # the client has left already
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_SECONDS * 1000)


def _at_the_end(app: Flask, download_id: int | None, slot: capacity.Slot | None) -> OnEnd:
    """Return what is called when the server is done with an answer: long after the request, so in a context of its own."""

    def end(sent: Span | None) -> None:
        if slot is not None:
            slot.give_back()
        if sent is None or download_id is None:
            return
        try:
            with app.app_context(), transaction():
                downloads.note_sent(download_id, sent, clock.now())
        except Exception:
            log.exception("could not note what was sent of download %s", download_id)

    return end


def plan(build: Build, method: str, headers: Headers) -> Plan:
    """Decide how to answer a GET or HEAD of `build`, by its conditions and range (RFC 9110, sections 13.2.2 and 14.2)."""
    status, span = _outcome(build, method, headers)
    return Plan(build.filename, build.sha256, build.size, status, span, with_body=method == "GET")


def _outcome(build: Build, method: str, headers: Headers) -> tuple[HTTPStatus, Span]:
    whole = Span(0, build.size - 1)
    if "If-Match" in headers and not parse_etags(headers["If-Match"]).contains(build.sha256):
        return HTTPStatus.PRECONDITION_FAILED, whole
    if "If-None-Match" in headers and parse_etags(headers["If-None-Match"]).contains_weak(build.sha256):
        return HTTPStatus.NOT_MODIFIED, whole
    # A range is defined for GET alone; a HEAD describes the whole.
    if method != "GET" or not if_range_holds(headers.get("If-Range"), etag(build.sha256)):
        return HTTPStatus.OK, whole
    try:
        span = parse_range(headers.get("Range"), build.size)
    except Unsatisfiable:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, whole
    return (HTTPStatus.OK, whole) if span is None else (HTTPStatus.PARTIAL_CONTENT, span)


def etag(sha256: str) -> str:
    """The strong entity tag: equal digests are equal bytes, and published bytes never change."""
    return f'"{sha256}"'


def answer(
    planned: Plan,
    source: io.RawIOBase | None,
    *,
    accel_path: str | None = None,
    file_wrapper: FileWrapper | None = None,
    on_end: OnEnd | None = None,
) -> Response:
    """Return the response that `planned` describes; `source` is the open file, where the bytes are ours to send.

    With `accel_path` (a path inside nginx), nginx sends the bytes and reads `Range` itself. Otherwise the file is handed to
    `file_wrapper`, and `on_end` is called when the server is done, with the bytes that it sent.
    """
    response = Response(status=planned.status, content_type="application/octet-stream")
    headers = response.headers
    headers["ETag"] = etag(planned.sha256)
    headers["Cache-Control"] = "private, no-store"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Accept-Ranges"] = "bytes"
    if planned.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["Content-Range"] = f"bytes */{planned.size}"
    if planned.with_body and planned.status in _REASONS:
        response.content_type = "text/plain; charset=utf-8"
        response.set_data(_REASONS[planned.status].format(size=planned.size))
    if planned.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return response
    headers["Content-Disposition"] = content_disposition(planned.filename)
    if accel_path is not None:
        response.status_code = HTTPStatus.OK
        headers["X-Accel-Redirect"] = accel_path
        return response
    headers["Content-Length"] = str(planned.span.length)
    if planned.status == HTTPStatus.PARTIAL_CONTENT:
        headers["Content-Range"] = f"bytes {planned.span.first}-{planned.span.last}/{planned.size}"
    if source is not None:
        # Werkzeug would wrap a 206 in a generator; passed through, the server sees its own wrapper and uses sendfile.
        response.response = (file_wrapper or Blocks)(FilePart(source, planned.span, on_end), BLOCK_BYTES)
        response.direct_passthrough = True
    return response


def content_disposition(filename: str) -> str:
    """Return `attachment` with the file's name twice: plain for old clients, and exact (RFC 6266, section 4.3; RFC 8187).

    The plain one keeps only characters that every client reads the same way: no quotes, backslashes, percent signs or
    anything outside ASCII.
    """
    ascii_name = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = "".join(c if c.isprintable() and c not in '"\\%/' else "_" for c in ascii_name).strip() or "download"
    exact = quote(filename, safe=_ATTR_CHAR, errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
