"""The one source of the current time.

Everything below the views takes `now` as an argument; only edges (views, commands, the worker) call `now()`.
"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def now() -> datetime:
    """Return the current instant as an aware UTC datetime."""
    return datetime.now(UTC)


def civil_date(instant: datetime, zone: str) -> date:
    """Return the calendar date that clocks in the IANA zone `zone` show at `instant`."""
    return instant.astimezone(ZoneInfo(zone)).date()
