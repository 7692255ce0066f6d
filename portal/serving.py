"""The web server: gunicorn with threads, since a download holds its thread for as long as the client takes."""

import ctypes
import gc
import logging
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from portal.app import create_app
from portal.config import Settings

# mallopt(3): how many arenas glibc keeps. It would give threads, of which there are hundreds, eight for each processor, and each
# keeps what it once had; threads that run Python hardly ever allocate at the same time.
M_ARENA_MAX, ARENAS = -8, 2


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Whether it is no mere client that stopped taking what it had asked for (`sending.STALLED_SECONDS`): laptops go to sleep."""
    return not (record.exc_info and isinstance(record.exc_info[1], TimeoutError))


class WebServer(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured from our settings instead of a file of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"{self.settings.web_host}:{self.settings.web_port}",
            "workers": self.settings.web_processes,
            "worker_class": "gthread",
            "threads": self.settings.web_threads,
            "graceful_timeout": 10,
            "loglevel": "warning",
            "proc_name": "portal",
            "control_socket_disable": True,  # it would lie in the home directory, one for all portals of this user
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        logging.getLogger("gunicorn.error").addFilter(_is_worth_logging)
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, ARENAS)
        app = create_app(self.settings)
        # What exists now lives as long as the process: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    WebServer(settings).run()
