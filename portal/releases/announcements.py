"""The notices a release sends."""


def register_kinds() -> None:
    """Make this module's kinds of notices known."""
