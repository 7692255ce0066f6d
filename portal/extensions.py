"""Extension objects, unbound: `portal.app` binds them. Importing this module does nothing else."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Flask
from flask_bootstrap import Bootstrap5
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_mail import Mail
from flask_wtf.csrf import CSRFProtect
from huey.api import Huey, PostgresHuey, SqliteHuey

from portal.config import Settings

log = logging.getLogger(__name__)


class Migrations:
    """Stands where Flask-Migrate keeps its configuration, and makes it when it is asked for anything.

    Migrating needs Alembic, 10 MB of memory that a web process would hold for nothing.
    """

    def __init__(self, app: Flask, database: Any, directory: Path) -> None:
        self._app, self._database, self._directory = app, database, directory

    def __getattr__(self, name: str) -> Any:
        from flask_migrate import Migrate

        Migrate(render_as_batch=True).init_app(self._app, self._database, directory=str(self._directory))
        return getattr(self._app.extensions["migrate"], name)


class Queue:
    """Wakes workers. It carries names of jobs, never their matter: what is to be done stands in the database.

    A worker gives each name its handler by `handle`; a web process only calls `wake`.
    """

    def __init__(self) -> None:
        self._address = ""
        self._open_queue: tuple[Huey, Callable[[str], Any]] | None = None
        self._handlers: dict[str, Callable[[], Any]] = {}
        self._lock = threading.Lock()

    def init_app(self, app: Flask, settings: Settings) -> None:
        self._address = settings.queue
        self._open_queue = None
        app.extensions["portal.queue"] = self

    @property
    def huey(self) -> Huey:
        """The queue itself, opened at first use, so that building an app needs no database."""
        return self._opened()[0]

    def _opened(self) -> tuple[Huey, Callable[[str], Any]]:
        with self._lock:
            if self._open_queue is None:
                huey = self._open(self._address)
                self._open_queue = huey, huey.task(name="run_job")(self._dispatch)
            return self._open_queue

    @staticmethod
    def _open(address: str) -> Huey:
        if address.startswith("sqlite"):
            file = Path(unquote(urlsplit(address).path)[1:])
            file.parent.mkdir(parents=True, exist_ok=True)
            return SqliteHuey("portal", filename=str(file), results=False)
        return PostgresHuey("portal", dsn=address.replace("postgresql+psycopg://", "postgresql://", 1), results=False)

    def handle(self, job: str, handler: Callable[[], Any]) -> None:
        self._handlers[job] = handler

    def _dispatch(self, job: str) -> None:
        self._handlers[job]()

    def wake(self, job: str) -> bool:
        """Ask a worker to run `job` soon. Waking twice is harmless; not being able to is logged, the sweeper makes up for it.

        Returns whether the queue could be reached.
        """
        try:
            self._opened()[1](job)
        except Exception:
            log.exception("could not wake a worker for %s", job)
            return False
        return True

    def pending(self) -> int:
        """Return how many wake-ups no worker has taken yet. Raises whatever the queue's storage raises when it cannot be reached."""
        return int(self.huey.pending_count())


bootstrap = Bootstrap5()
csrf = CSRFProtect()
limiter = Limiter(get_remote_address, headers_enabled=False)
mail = Mail()
queue = Queue()
