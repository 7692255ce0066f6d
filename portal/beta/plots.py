"""Plots as SVG inside a page. Colours and letters come from our stylesheet (`.plot`), in light and dark."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pygal
from markupsafe import Markup
from pygal.etree import etree

WIDTH, HEIGHT = 640, 240  # units of the drawing, not pixels
_MOST_POINTS = 31
_LABELS = 4
_MOST_LABELS = 8
_FEWEST_COLUMNS = 5
# What pygal puts in for its script, its style and its tooltips. The first two our content security policy forbids.
_DROPPED = {"style", "script", "desc", "defs", "title"}
_SVG = "{http://www.w3.org/2000/svg}"


def growth(first_day: date, last_day: date, series: Mapping[str, Sequence[date]], title: str) -> Markup:
    """Draw how many there were of each series by each day, given the day of each. `title` says so to those who cannot see it."""
    step = max(1, -(-(last_day - first_day).days // _MOST_POINTS))
    days = [last_day - timedelta(days=back) for back in range(0, (last_day - first_day).days + 1, step)][::-1]
    most = max((len(one) for one in series.values()), default=0)
    chart = pygal.Line(
        width=WIDTH, height=HEIGHT, css=[], js=[], classes=("plot",), no_prefix=True, show_legend=False, show_dots=False,
        margin=8, margin_right=24, truncate_label=-1,
        range=(0, max(most, 4)), max_scale=5, order_min=0, show_minor_x_labels=False,
        x_labels_major_count=_LABELS, formatter=lambda number: f"{number:g}",
    )  # fmt: skip
    chart.x_labels = [f"{day.day} {day:%b}" for day in days]
    for name, dates in series.items():
        chart.add(name, [sum(one <= day for one in dates) for day in days])
    return _inline(chart, title)


def bars(labels: Sequence[str], series: Mapping[str, Sequence[float]], title: str, *, kind: str = "") -> Markup:
    """Draw numbers as columns, the series of one label on top of each other. `title` says them to those who cannot see it.

    `kind` is a class that gives the series other colours (`plot-<kind>` in our stylesheet).
    """
    most = max((sum(numbers) for numbers in zip(*series.values(), strict=True)), default=0)
    # Columns of one or two labels would be as wide as the drawing.
    room = [""] * max(0, _FEWEST_COLUMNS - len(labels))
    chart = pygal.StackedBar(
        width=WIDTH, height=HEIGHT, css=[], js=[], classes=("plot", f"plot-{kind}" if kind else ""), no_prefix=True, show_legend=False,
        margin=8, margin_right=24, truncate_label=-1, spacing=12,
        range=(0, max(most, 4)), max_scale=5, order_min=0, show_minor_x_labels=len(labels) <= _MOST_LABELS,
        x_labels_major_count=_LABELS, formatter=lambda number: f"{number:g}",
    )  # fmt: skip
    chart.x_labels = [*labels, *room]
    for name, numbers in series.items():
        chart.add(name, [*numbers, *(None for _ in room)])
    return _inline(chart, title)


def _inline(chart: pygal.Line | pygal.StackedBar, title: str) -> Markup:
    """Return the drawing as a part of a page, without what a page of ours must not hold."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag.removeprefix(_SVG) in _DROPPED:
                parent.remove(child)
        for name in ("id", "style"):
            parent.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", title)
    return Markup(etree.tostring(root, encoding="unicode"))  # nosec B704 # noqa: S704 - made of numbers, dates and what etree has escaped
