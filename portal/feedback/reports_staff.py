"""The product team's numbers, their files, and the switch of the weekly digest."""

import csv
import io
from collections.abc import Callable, Mapping
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Blueprint, flash, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from portal import audit, clock
from portal.beta import plots
from portal.config import current_settings
from portal.database import end_read, transaction
from portal.errors import NotFound
from portal.feedback import digest, export, reports
from portal.feedback.reports import Answered, Table
from portal.feedback.views import me
from portal.products.catalog import all_products
from portal.products.models import Product
from portal.text import defuse
from portal.web.formatting import MONTHS, NBSP, count, kind_version
from portal.web.guards import protect, staff

blueprint = Blueprint("feedback_reports_staff", __name__, url_prefix="/staff/feedback")
protect(blueprint, staff("product"))

# A report as a table, by the name its file has.
Report = Callable[[Product | None, datetime, str], Table]
REPORTS: Mapping[str, Report] = {
    "items-per-week": reports.by_week,
    "items-per-release": lambda product, now, zone: reports.by_release(product),
    "first-answer": lambda product, now, zone: reports.first_answers(product, now, zone).table,
    "open-by-age": lambda product, now, zone: reports.open_by_age(product, now),
    "top-by-value": lambda product, now, zone: reports.top_by_value(product, now),
    "verdicts-per-beta": lambda product, now, zone: reports.verdicts_by_beta(product),
}


class Plot(NamedTuple):
    """A drawing with its key: colour class and name of each series."""

    drawing: Markup
    key: tuple[tuple[str, str], ...]


@blueprint.get("/reports/")
def index() -> ResponseReturnValue:
    """Show all reports, of one product or of all."""
    now, zone, product = clock.now(), current_settings().default_time_zone, _product()
    weekly, answers = reports.by_week(product, now, zone), reports.first_answers(product, now, zone)
    releases, ages = reports.by_release(product), reports.open_by_age(product, now)
    verdicts = reports.verdicts_by_beta(product)
    return render_template(
        "feedback/staff_reports.html",
        products=all_products(),
        product=product,
        weekly=weekly,
        weekly_plot=_weekly_plot(weekly),
        releases=releases,
        releases_plot=_releases_plot(releases),
        answers=answers,
        answers_plot=_answers_plot(answers),
        ages=ages,
        ages_plot=_ages_plot(ages),
        top=reports.top_by_value(product, now),
        verdicts=verdicts,
        verdicts_plot=_verdicts_plot(verdicts),
        weeks=reports.WEEKS,
        currency=current_settings().contract_currency,
        digest_wanted=digest.is_wanted(me().id),
        digest_hour=current_settings().feedback_digest_hour,
        zone=zone,
    )


@blueprint.get("/reports/<name>.csv")
def as_csv(name: str) -> ResponseReturnValue:
    """Send the numbers of one report. A spreadsheet runs none of it."""
    report = REPORTS.get(name)
    if report is None:
        raise NotFound("There is no such report.")
    product = _product()
    table = report(product, clock.now(), current_settings().default_time_zone)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(table.columns)
    writer.writerows([defuse(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows)
    filename = f"feedback-{name}{'-' + product.slug if product else ''}.csv"
    return file.getvalue(), {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{filename}"'}


@blueprint.get("/export.<any(csv, json):file_format>")
def download(file_format: str) -> ResponseReturnValue:
    """Send all feedback, private items too, with the contracts that vote for each."""
    person = me()
    with transaction():
        audit.record("feedback.exported", subject_type="feedback", subject_id=None, actor=person, now=clock.now(), format=file_format)
    whole = export.as_file(file_format, clock.now())
    end_read()
    return send_file(whole, export.TYPES[file_format], as_attachment=True, download_name=f"feedback.{file_format}", max_age=0)


@blueprint.post("/reports/digest")
def switch_digest() -> ResponseReturnValue:
    """Switch the weekly digest on or off for oneself."""
    person, wanted = me(), request.form.get("wanted") == "yes"
    with transaction():
        digest.choose(person.id, wanted=wanted, now=clock.now())
        audit.record("digest.chosen", subject_type="user", subject_id=person.id, actor=person, now=clock.now(), wanted=wanted)
    flash("You get the weekly digest." if wanted else "You no longer get the weekly digest.", "success")
    return redirect(url_for(".index", _anchor="digest"), HTTPStatus.SEE_OTHER)


@blueprint.app_template_filter("iso_day")
def iso_day(text: str) -> date:
    """2026-11-23 as a date."""
    return date.fromisoformat(text)


@blueprint.app_template_filter("waited")
def waited(hours: int) -> str:
    """Hours as people say them: under an hour, 5 h, 3 days."""
    if hours < 1:
        return "under an hour"
    return f"{hours}{NBSP}h" if hours < 48 else count(round(hours / 24), "day")


def _product() -> Product | None:
    """The product the address names; all of them for one it does not know."""
    slug = request.args.get("product")
    return next((product for product in all_products() if product.slug == slug), None)


# The ages of `reports.AGES`, short enough for a drawing.
_AGES = ("< 1 wk", "1–4 wk", "1–3 mo", "3–12 mo", "> 1 yr")

# Plots -------------------------------------------------------------------------------------------------------------------------


def _short(week: str | Any) -> str:
    day = date.fromisoformat(str(week))
    return f"{day.day} {MONTHS[day.month - 1][:3]}"


def _weekly_plot(table: Table) -> Plot | None:
    series = {name: table.column(name) for name in table.columns[1:]}
    total = sum(map(sum, series.values()))
    if not total:
        return None
    title = f"{count(total, 'item')} in {reports.WEEKS} weeks: {', '.join(f'{sum(numbers)} {name}' for name, numbers in series.items())}."
    drawing = plots.bars([_short(row[0]) for row in table.rows], series, title)
    return Plot(drawing, (("c-accent", "Ideas"), ("c-violet", "Problems"), ("c-amber", "Questions")))


def _releases_plot(table: Table) -> Plot | None:
    written, problems = table.column("written_about_it")[::-1], table.column("problems")[::-1]
    if not any(written):
        return None
    others = [whole - part for whole, part in zip(written, problems, strict=True)]
    title = f"{count(sum(written), 'item')} written about the last {len(written)} releases, {sum(problems)} of them problems."
    drawing = plots.bars([str(row[1]) for row in table.rows][::-1], {"Ideas and questions": others, "Problems": problems}, title)
    return Plot(drawing, (("c-accent", "Ideas and questions"), ("c-violet", "Problems")))


def _answers_plot(answers: Answered) -> Plot | None:
    if not answers.answered:
        return None
    days = [round(hours / 24, 1) for hours in answers.table.column("median_hours")]
    title = f"Median time to the first answer by week: {waited(answers.median_hours or 0)} over all."
    return Plot(plots.bars([_short(row[0]) for row in answers.table.rows], {"Days": days}, title), (("c-accent", "Median, in days"),))


def _ages_plot(table: Table) -> Plot | None:
    names = ("under_review", "planned", "in_beta")
    series = {name: table.column(name) for name in names}
    total = sum(table.column("all"))
    if not total:
        return None
    title = f"{count(total, 'item')} open: {', '.join(f'{row[-1]} {row[0]}' for row in table.rows)}."
    drawing = plots.bars(_AGES, series, title)
    return Plot(drawing, (("c-accent", "Under review"), ("c-violet", "Planned"), ("c-amber", "In beta")))


def _verdicts_plot(table: Table) -> Plot | None:
    series = {name: table.column(name)[::-1] for name in ("yes", "partly", "no")}
    if not any(map(any, series.values())):
        return None
    title = (
        "Verdicts by beta: "
        + "; ".join(f"{kind_version(str(row[1]))} {row[3]} yes, {row[4]} partly, {row[5]} no" for row in table.rows)
        + "."
    )
    drawing = plots.bars([str(row[1]) for row in table.rows][::-1], series, title, kind="verdicts")
    return Plot(drawing, (("c-green", "Yes"), ("c-amber", "Partly"), ("c-red", "No")))
