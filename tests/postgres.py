"""PostgreSQL databases for tests: copies of a migrated template, each emptied and lent again.

To make a database takes half a second and to empty one a few milliseconds. What cannot be told from a fresh copy is lent again:
every table holds what it held in the template, every sequence begins anew, nobody is connected, and no definition was changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

TEMPLATE = "portal_template"
# The dead rows of this many tests don't make a table look so large that its plans change.
LENT_AT_MOST = 40

# Lies in the template, and so in each copy. `restore` says whether the database is as fresh as the template again.
RESTORE = """
CREATE SCHEMA fresh;
CREATE TABLE fresh.redefined (command text);
CREATE FUNCTION fresh.note_redefined() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fresh.redefined SELECT command_tag FROM pg_event_trigger_ddl_commands()
        WHERE schema_name IS DISTINCT FROM 'pg_temp' AND object_identity NOT LIKE 'public.huey_%';
END $$;
CREATE FUNCTION fresh.note_dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO fresh.redefined SELECT object_type FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary;
END $$;
DO $$
DECLARE one record; filled boolean;
BEGIN
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', one.name) INTO filled;
        IF filled THEN
            EXECUTE format('CREATE TABLE fresh.%I AS TABLE public.%I', 'of_' || one.name, one.name);
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION fresh.restore() RETURNS boolean LANGUAGE plpgsql SET session_replication_role = replica AS $$
DECLARE one record;
BEGIN
    PERFORM pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
    IF EXISTS (SELECT FROM fresh.redefined)
        OR EXISTS (SELECT FROM pg_db_role_setting JOIN pg_database ON oid = setdatabase WHERE datname = current_database())
    THEN
        RETURN false;
    END IF;
    -- The queue makes its tables when it is first used.
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'huey_%' LOOP
        EXECUTE format('DROP TABLE public.%I', one.name);
    END LOOP;
    FOR one IN SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('DELETE FROM public.%I', one.name);
    END LOOP;
    FOR one IN SELECT substr(tablename, 4) AS name FROM pg_tables WHERE schemaname = 'fresh' AND tablename LIKE 'of_%' LOOP
        EXECUTE format('INSERT INTO public.%I SELECT * FROM fresh.%I', one.name, 'of_' || one.name);
    END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence WHERE pg_sequence_last_value(seqrelid) IS NOT NULL;
    RETURN true;
END $$;
CREATE EVENT TRIGGER redefined ON ddl_command_end EXECUTE FUNCTION fresh.note_redefined();
CREATE EVENT TRIGGER dropped ON sql_drop EXECUTE FUNCTION fresh.note_dropped();
"""


def sqlalchemy_address(address: str) -> str:
    return address.replace("postgresql://", "postgresql+psycopg://", 1)


def plain(address: str) -> str:
    """Return an address of SQLAlchemy as psycopg reads it."""
    return address.replace("postgresql+psycopg://", "postgresql://", 1)


def of(template: str, name: str) -> str:
    """Return the address of another database on the template's server."""
    return template.replace(f"/{TEMPLATE}?", f"/{name}?")


def create(template: str, name: str) -> None:
    with psycopg.connect(of(template, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')


def drop(template: str, name: str) -> None:
    with psycopg.connect(of(template, "postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def prepare(template: str) -> None:
    """Give the migrated template what its copies need to be lent again."""
    with psycopg.connect(template, autocommit=True) as connection:
        connection.execute(RESTORE)


class Lender:
    """Lends one database after the other, each as fresh as the template."""

    def __init__(self, template: str, prefix: str = "lent") -> None:
        self.template = template
        self.prefix = prefix
        self.ready: str | None = None
        self.made = 0
        self.lent = 0

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Yield the SQLAlchemy address of a fresh database."""
        if self.ready is None:
            self.made += 1
            self.lent = 0
            name = f"{self.prefix}_{self.made}"
            create(self.template, name)
        else:
            name, self.ready = self.ready, None
        self.lent += 1
        try:
            yield sqlalchemy_address(of(self.template, name))
        finally:
            if self.lent < LENT_AT_MOST and self._restored(name):
                self.ready = name
            else:
                drop(self.template, name)

    def close(self) -> None:
        if self.ready is not None:
            drop(self.template, self.ready)
            self.ready = None

    def _restored(self, name: str) -> bool:
        with psycopg.connect(of(self.template, name), autocommit=True) as connection:
            answer = connection.execute("SELECT fresh.restore()").fetchone()
        return answer == (True,)
