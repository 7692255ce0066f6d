"""Errors that carry a sentence for the person who caused them.

They know nothing of HTTP: `portal.web.errors` turns them into pages, the commands into exit code 1.
"""


class PortalError(Exception):
    """Something was refused. The message is plain text, fit to be shown to the person."""


class Invalid(PortalError):
    """The input cannot be accepted as it is.

    `field` names the form field (or command option) at fault, None when it is the whole.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Conflict(PortalError):
    """The act does not fit the present state: already done, overtaken, or a limit is reached."""


class NotFound(PortalError):
    """There is no such thing for this person. Somebody else's thing is reported the same way."""


class Busy(PortalError):
    """The database did not answer in time, so nothing was done. The same again, a little later, may well work."""
