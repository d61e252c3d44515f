"""What throw-away PostgreSQL servers have in common: how they run, and how they are asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import clock, redact, run, sandbox
from agent.backup.drill.engines import Check, await_start
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import _postgresql_target as targets
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

_LONG_SECONDS = 6 * 3600.0
# What a restored database is set to must not hinder those who look at it.
_OPTIONS = (
    "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0"
    " -c default_transaction_read_only=off"
)
# Durability is of no use to what is thrown away; nothing here may reach out or run on its own.
_SETTINGS = {
    "listen_addresses": "",
    "archive_mode": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "logging_collector": "off",
    "max_connections": "10",
    # it needs memory that can be written and run, which the unit of a drill does not allow
    "jit": "off",
}


class Server:
    """A running server, asked as one of its superusers through its socket in `place`."""

    def __init__(
        self,
        place: Path,
        user: str,
        *,
        role: str,
        database: str,
        maintenance: str = client.MAINTENANCE_DATABASE,
    ) -> None:
        self.target = f"postgresql:///{database}?host={place}&user={role}"
        target = targets.parse(RestoreRequest(self.target, {}, engine_user=user))
        self._target = replace(target, options=_OPTIONS)
        self._maintenance = maintenance

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self.sql("SELECT pg_catalog.to_json(1);")
        except Art32Error:
            return False
        return True

    def sql(self, text: str) -> list[Any]:
        """Run SQL of our own in the maintenance database; return the JSON values of its rows."""
        return self._target.sql(text, database=self._maintenance)

    def values(self, sql: str, *, database: str | None = None) -> list[Any]:
        """The same in a database, by default its own, with as much time as large tables need."""
        name = database or self._target.database
        return self._target.sql(sql, database=name, timeout=_LONG_SECONDS)

    def amcheck(self, *, everywhere: bool = False) -> Check:
        """Read every table and every B-tree index, of all databases where it is to be `everywhere`
        (amcheck, "pg_amcheck")."""
        where = client.directory(None)
        try:
            program = client.program("pg_amcheck", where)
        except Art32Error as error:
            return Check("amcheck", None, error.sentence)
        argv = [program, "--install-missing=public", "--no-password"]
        if everywhere:
            argv += ["--all", "--maintenance-db"]
        argv.append(self._target.connection(self._target.database))
        done = run.run(self._target.confined(argv, directory=where), timeout=_LONG_SECONDS)
        if done.returncode == 0:
            return Check("amcheck", True, "every table and every B-tree index was read")
        said = redact.diagnostic(done.stderr) or redact.diagnostic(done.stdout)
        return Check("amcheck", False, said or f"status {done.returncode}")

    def _query(self, query: str, database: str | None) -> list[Any]:
        """Return the first column of the rows of a configured query, as JSON values.

        It is the operator's own and runs with the database's own search path.
        """
        text = query.strip().rstrip(";")
        return self.values(
            "RESET search_path;\n"
            "SELECT pg_catalog.to_json(answer) FROM (\n"
            f"SELECT (pg_catalog.row_to_json(one) ->> key)::text AS answer FROM ({text}\n) one,\n"
            "LATERAL (SELECT pg_catalog.json_object_keys(pg_catalog.row_to_json(one)) AS key"
            " LIMIT 1) k) a LIMIT 2;",
            database=database,
        )

    def assertions(self, wanted: DrillCheck, *, database: str | None = None) -> Iterator[Check]:
        """Yield whether each configured assertion holds."""
        for number, assertion in enumerate(wanted.assertions, 1):
            name = f"assertion {number}"
            try:
                answers = self._query(assertion, database)
            except Art32Error as error:
                yield Check(name, False, error.sentence)
                continue
            holds = answers == ["true"]
            yield Check(name, holds, "holds" if holds else "does not hold")

    def newest_row(self, wanted: DrillCheck, *, database: str | None = None) -> datetime | None:
        """Return what the configured query says, None without one; raise DRILL_FAILED when that
        is no time."""
        if wanted.newest_row is None:
            return None
        answers = self._query(wanted.newest_row, database)
        try:
            (text,) = answers
            return clock.parse_iso(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"`newest_row` of source `{wanted.source}` gives no time with a zone",
                hint="it must select one timestamptz, as in SELECT max(created_at) FROM orders",
            ) from error


def origin(identifier: object, wanted: DrillCheck) -> Iterator[Check]:
    """Yield whether the backup comes from the cluster that is asked for, if one is."""
    if wanted.system_identifier is not None:
        yield Check(
            "system identifier",
            identifier == wanted.system_identifier,
            f"the backup comes from {identifier or 'a cluster that did not say'}",
        )


def arguments(settings: Mapping[str, str] = {}) -> list[str]:
    """Return the settings of a throw-away server, and more of them, as its arguments."""
    whole = {**_SETTINGS, **settings}
    return [part for name, value in whole.items() for part in ("-c", f"{name}={value}")]


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    server: Server,
    *,
    place: Path,
    user: str,
    settings: Mapping[str, str] = {},
    readable: tuple[Path, ...] = (),
) -> Iterator[None]:
    """Hold a confined server that has its socket in `place`, once it answers; `argv` is the program
    with its data directory. Raise DRILL_FAILED when it does not start."""
    whole = [*argv, *arguments({"unix_socket_directories": str(place), **settings})]
    confined = sandbox.confined(
        whole, user=user, writable=place, readable=readable, refuses_root=True
    )
    with run.Process(confined, stdout=run.DEVNULL) as process:
        await_start(process, server.ready)
        yield
