"""How many downloads run side by side, in this process.

A download that the portal sends itself holds a thread of the web server for as long as the client takes. So there are fewer slots
for downloads than there are threads, and pages answer however many people download. Where nginx sends, no slot is needed.
"""

import threading
import weakref
from collections.abc import Hashable

from flask import Flask, current_app

from portal.config import Settings

RETRY_SECONDS = 30


class Full(Exception):
    """There is no free slot: for anybody, or (`own`) because this client has as many downloads running as one may have."""

    def __init__(self, *, own: bool) -> None:
        super().__init__()
        self.own = own


class Slot:
    """The right to run one download. It is given back when that is over, and also if it is merely lost."""

    def __init__(self, slots: "Slots", client: Hashable) -> None:
        self._slots = slots
        self.client = client

    def give_back(self) -> None:
        """Let another download have it. To do so again does nothing."""
        self._slots.take_back(self)


class Slots:
    """Counts the downloads that run. Slots are held by weak references alone, so none can leak: not with an answer that never
    reached the server's hands, nor with any failure in between.
    """

    def __init__(self, most: int, most_per_client: int) -> None:
        self._most = most
        self._most_per_client = most_per_client
        self._lock = threading.Lock()
        self._taken: weakref.WeakSet[Slot] = weakref.WeakSet()

    @property
    def running(self) -> int:
        return len(self._taken)

    def take(self, client: Hashable) -> Slot:
        """Return a slot for `client`. Raises Full."""
        with self._lock:
            taken = list(self._taken)
            if sum(slot.client == client for slot in taken) >= self._most_per_client:
                raise Full(own=True)
            if len(taken) >= self._most:
                raise Full(own=False)
            slot = Slot(self, client)
            self._taken.add(slot)
            return slot

    def take_back(self, slot: Slot) -> None:
        with self._lock:
            self._taken.discard(slot)


def slots() -> Slots:
    """Return the slots of the current app."""
    found: Slots = current_app.extensions["portal.downloads"]
    return found


def init_app(app: Flask, settings: Settings) -> None:
    app.extensions["portal.downloads"] = Slots(settings.download_slots, settings.max_downloads_per_person)
