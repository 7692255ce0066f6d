"""The audit log's page, and its export: for admins, and for programs with a token of theirs."""

from datetime import date
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import Any

from flask import Blueprint, Response, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal import audit, clock
from portal.config import current_settings
from portal.database import transaction
from portal.errors import Invalid
from portal.home import audit_log
from portal.home.audit_log import Search
from portal.web.bearer import bearer, owner
from portal.web.guards import protect, staff

blueprint = Blueprint("audit_staff", __name__, url_prefix="/staff/audit")
protect(blueprint, staff("admin"))
api_blueprint = Blueprint("audit_api", __name__, url_prefix="/staff/api")
protect(api_blueprint, bearer("audit:read"))

LARGEST_ID = 2**31 - 1
LONGEST_QUERY = 200
MOST_AT_ONCE = 10_000
ASKED = ("person", "action", "subject", "since", "until")
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """List what happened, latest first."""
    search, errors = _read()
    before = _number("before")
    page = audit_log.Page([], None)
    if not errors:
        try:
            page = audit_log.page(search, before)
        except Invalid as error:
            errors[error.field or "person"] = [str(error)]
    asked: dict[str, Any] = {name: value for name, value in request.args.items() if value and name in ASKED}
    body = render_template(
        "home/audit.html",
        page=page,
        search=search,
        errors=errors,
        typed=request.args,
        actions=audit_log.actions(),
        subject_url=_subject_url,
        first_url=url_for("audit_staff.index", **asked) if before is not None else None,
        next_url=url_for("audit_staff.index", **{**asked, "before": page.next_key}) if page.next_key else None,
        export_urls={form: url_for("audit_staff.export", form=form, **asked) for form in TYPES},
    )
    return body, 400 if errors else 200


@blueprint.get("/export.<any(csv, json):form>")
def export(form: str) -> ResponseReturnValue:
    """What the search found, whole, as a file."""
    search, errors = _read()
    if errors:
        raise Invalid(next(iter(errors.values()))[0])
    return _file(search, form, current_user._get_current_object())


@api_blueprint.get("/audit.<any(csv, json):form>")
def export_to_program(form: str) -> ResponseReturnValue:
    """Events by id, after the id `after`, at most MOST_AT_ONCE: a program asks again with the last id it has."""
    search, errors = _read()
    if errors:
        return {"error": next(iter(errors.values()))[0]}, 400
    return _file(search, form, owner(), after_id=_number("after") or 0, limit=MOST_AT_ONCE)


def _file(search: Search, form: str, actor: audit.Actor, *, after_id: int = 0, limit: int | None = None) -> Response:
    asked = {name: value for name in ASKED if (value := request.args.get(name))}
    with transaction():
        audit.record("audit.exported", subject_type="export", subject_id=None, actor=actor, now=clock.now(), form=form, search=asked)
    spool = TemporaryFile()  # noqa: SIM115 - it is closed with the answer
    text = TextIOWrapper(spool, encoding="utf-8", newline="", write_through=True)
    audit_log.WRITERS[form](audit_log.rows(search, after_id=after_id, limit=limit), text)
    text.detach()
    spool.seek(0)
    answer = send_file(spool, TYPES[form], as_attachment=True, download_name=f"audit.{form}", max_age=0)
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def _read() -> tuple[Search, dict[str, list[str]]]:
    """What the address asks for, and what is wrong with it."""
    errors: dict[str, list[str]] = {}
    words = {name: _words(name) for name in ("person", "action", "subject")}
    zone = getattr(current_user, "time_zone", None) or current_settings().default_time_zone
    since, until = _day("since", errors), _day("until", errors)
    return Search(**words, since=since, until=until, zone=zone), errors


def _words(name: str) -> str:
    return " ".join(request.args.get(name, "").replace("\x00", " ").split())[:LONGEST_QUERY]


def _day(name: str, errors: dict[str, list[str]]) -> date | None:
    text = request.args.get(name, "").strip()
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or not 1900 <= day.year <= 9000:
        errors[name] = [f"{text[:40]} is no date we can read. Write it like {clock.now():%Y-%m-%d}."]
        return None
    return day


def _number(name: str) -> int | None:
    text = request.args.get(name, "")
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _subject_url(line: audit_log.Line) -> str | None:
    """Where the subject of an event is looked after; None for what has no page of its own."""
    kind, number, name = line.event.subject_type, line.event.subject_id, line.subject
    if number is None or name is None:
        return None
    if kind == "contract":
        return url_for("contracts_staff.show", number=name)
    if kind == "feedback_item":
        return url_for("feedback_staff.item", item_id=number)
    if kind == "notice":
        return url_for("notices_staff.show", notice_id=number)
    if kind == "announcement":
        return url_for("announcements_staff.show", announcement_id=number)
    return None
