"""How dates, sizes and versions are written. Pages and mails share these."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from packaging.version import InvalidVersion, Version

from portal.clock import civil_date

NBSP = "\u00a0"
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
PRE_RELEASES = {"a": "alpha", "b": "beta", "rc": "release candidate"}


def long_date(day: date) -> str:
    """24 November 2026."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def clock_time(instant: datetime, zone: str) -> str:
    """18:30, on the clocks of `zone`."""
    return instant.astimezone(ZoneInfo(zone)).strftime("%H:%M")


def exact_time(instant: datetime, zone: str) -> str:
    """24 November 2026, 18:30 (Europe/Berlin): for mails, whose reader cannot be asked for a zone."""
    return f"{long_date(civil_date(instant, zone))}, {clock_time(instant, zone)} ({zone})"


def machine_time(instant: datetime) -> str:
    """ISO 8601 in UTC, for the datetime attribute."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def file_size(size: int) -> str:
    """84.6 MB: decimal units, one decimal from MB upwards, a no-break space before the unit."""
    if size < 1000:
        return f"{size}{NBSP}bytes"
    if size < 999_500:
        return f"{size / 1000:.0f}{NBSP}KB"
    return f"{size / 1e6:.1f}{NBSP}MB" if size < 999_950_000 else f"{size / 1e9:.1f}{NBSP}GB"


def kind_version(version: str) -> str:
    """15.3 beta 3 for 15.3b3; anything else as it stands."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return version
    if parsed.pre is None or parsed.is_devrelease or parsed.is_postrelease or parsed.local:
        return version
    return f"{parsed.base_version} {PRE_RELEASES[parsed.pre[0]]}{NBSP}{parsed.pre[1]}"


def days_phrase(days: int) -> str:
    """in 68 days, tomorrow, today, yesterday, 3 days ago."""
    if days == 0:
        return "today"
    if abs(days) == 1:
        return "tomorrow" if days == 1 else "yesterday"
    return f"in {days} days" if days > 0 else f"{-days} days ago"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """1 idea, 2 ideas, 40,000 ideas."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def money(cents: int, currency: str) -> str:
    """USD 495, USD 1,237.50: cents only where there are some, a no-break space behind the currency."""
    whole, rest = divmod(cents, 100)
    return f"{currency}{NBSP}{whole:,}" + (f".{rest:02}" if rest else "")
