"""The one source of the current time.

Everything below the views takes `now` as an argument; only edges (views, commands, the worker) call `now()`.
"""

from datetime import UTC, date, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones


def now() -> datetime:
    """Return the current instant as an aware UTC datetime."""
    return datetime.now(UTC)


@cache
def time_zones() -> frozenset[str]:
    """Return the names of all IANA zones known here. Kept, since finding them means reading hundreds of files."""
    return frozenset(available_timezones())


def civil_date(instant: datetime, zone: str) -> date:
    """Return the calendar date that clocks in the IANA zone `zone` show at `instant`."""
    return instant.astimezone(ZoneInfo(zone)).date()
