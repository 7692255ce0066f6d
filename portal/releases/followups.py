"""What else happens when a release is published, withdrawn or discarded: registered by those above, in the same transaction."""

from collections.abc import Callable
from datetime import datetime

from portal.account.models import User
from portal.notices.models import Notice
from portal.releases.models import Release

# Given a release, the notice that tells of it, who published it (None: it was scheduled), and when.
Published = Callable[[Release, Notice, User | None, datetime], None]
# Given a release that was withdrawn, by whom, and when.
Withdrawn = Callable[[Release, User | None, datetime], None]
# Given the id of a draft that is about to go for good.
Discarded = Callable[[int], None]

published: list[Published] = []
withdrawn: list[Withdrawn] = []
discarded: list[Discarded] = []


def register(on_published: Published, on_withdrawn: Withdrawn, on_discarded: Discarded) -> None:
    """Register who has something to do then. Each app built in a process registers anew."""
    published[:] = [on_published]
    withdrawn[:] = [on_withdrawn]
    discarded[:] = [on_discarded]
