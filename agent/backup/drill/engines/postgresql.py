"""A throw-away PostgreSQL: its own initdb, on a socket, with archiving off, confined."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from agent import clock, redact, run, sandbox
from agent.backup.drill.engines import START_SECONDS, Check, await_start, counted
from agent.backup.manifest import Details
from agent.backup.sources import RestoreRequest
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import _postgresql_properties as properties
from agent.backup.sources import _postgresql_target as targets
from agent.backup.sources._postgresql_snapshot import COUNT
from agent.backup.sources._postgresql_target import identifier
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

DATABASE = "drill"
_ROLE = "drill"
_INSTALLED = Path("/usr/lib/postgresql")
_LONG_SECONDS = 6 * 3600.0
# What the restored database is set to must not hinder those who look at it.
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


class PostgreSQL:
    """The running server; `target` names the database that a restore makes."""

    def __init__(self, place: Path, user: str) -> None:
        self.target = f"postgresql:///{DATABASE}?host={place}&user={_ROLE}"
        server = targets.parse(RestoreRequest(self.target, {}, engine_user=user))
        self._server = replace(server, options=_OPTIONS)
        self._user = user

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self._server.sql("SELECT pg_catalog.to_json(1);")
        except Art32Error:
            return False
        return True

    def make_roles(self, details: Details) -> None:
        """Make the roles that policies and user mappings of the backup name."""
        names = details.facts.get("roles")
        found = [one for one in names if isinstance(one, str)] if isinstance(names, list) else []
        there = {_ROLE, *(one for one in found if one.startswith("pg_"))}
        text = "".join(f"CREATE ROLE {identifier(one)};\n" for one in found if one not in there)
        if text:
            self._server.sql(text)

    def _values(self, sql: str) -> list[Any]:
        return self._server.sql(sql, database=DATABASE, timeout=_LONG_SECONDS)

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        found: dict[str, int] = {}
        if details.rows is not None:
            for value in self._values(COUNT):
                found[value["table"]] = found.get(value["table"], 0) + value["rows"]
        yield counted(details.rows, found)
        yield self._amcheck()
        yield self._properties(details)
        if wanted.system_identifier is not None:
            identifier = details.facts.get("system_identifier")
            yield Check(
                "system identifier",
                identifier == wanted.system_identifier,
                f"the backup comes from {identifier or 'a cluster that did not say'}",
            )
        for number, assertion in enumerate(wanted.assertions, 1):
            yield self._assertion(number, assertion)

    def _amcheck(self) -> Check:
        """Read every table and every B-tree index (amcheck, "pg_amcheck")."""
        where = client.directory(None)
        try:
            program = client.program("pg_amcheck", where)
        except Art32Error as error:
            return Check("amcheck", None, error.sentence)
        argv = [program, "--install-missing=public", "--no-password"]
        argv.append(self._server.connection(DATABASE))
        done = run.run(self._server.confined(argv, directory=where), timeout=_LONG_SECONDS)
        if done.returncode == 0:
            return Check("amcheck", True, "every table and every B-tree index was read")
        said = redact.diagnostic(done.stderr) or redact.diagnostic(done.stdout)
        return Check("amcheck", False, said or f"status {done.returncode}")

    def _properties(self, details: Details) -> Check:
        """Compare what belongs to the database itself: settings, comment, rights of everybody."""
        name = "settings"
        if (wanted := properties.read(details.facts)) is None:
            return Check(name, None, "the backup does not say what its database was set to")
        (value,) = self._values(properties.QUERY)
        found = properties.read(value)
        there = {} if found is None else found.common()
        expected = wanted.common()
        wrong = sorted(key for key in {*there, *expected} if there.get(key) != expected.get(key))
        if wrong:
            return Check(name, False, f"not as in the database: {', '.join(wrong)}")
        return Check(name, True, "settings, comment and rights of everybody are the database's")

    def _query(self, query: str) -> list[Any]:
        """Return the first column of the rows of a configured query, as JSON values.

        It is the operator's own and runs with the database's own search path.
        """
        text = query.strip().rstrip(";")
        return self._values(
            "RESET search_path;\n"
            "SELECT pg_catalog.to_json(answer) FROM (\n"
            f"SELECT (pg_catalog.row_to_json(one) ->> key)::text AS answer FROM ({text}\n) one,\n"
            "LATERAL (SELECT pg_catalog.json_object_keys(pg_catalog.row_to_json(one)) AS key"
            " LIMIT 1) k) a LIMIT 2;"
        )

    def _assertion(self, number: int, assertion: str) -> Check:
        name = f"assertion {number}"
        try:
            answers = self._query(assertion)
        except Art32Error as error:
            return Check(name, False, error.sentence)
        return Check(name, answers == ["true"], "holds" if answers == ["true"] else "does not hold")

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        if wanted.newest_row is None:
            return None
        answers = self._query(wanted.newest_row)
        try:
            (text,) = answers
            return clock.parse_iso(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"`newest_row` of source `{wanted.source}` gives no time with a zone",
                hint="it must select one timestamptz, as in SELECT max(created_at) FROM orders",
            ) from error


def server_directory() -> Path | None:
    """Return where the newest installed server is, None for the search path: the newest clients may
    be of a version whose server is not here. Raise TOOL_MISSING when there is none."""
    found = {
        int(path.parts[-3]): path.parent
        for path in _INSTALLED.glob("*/bin/postgres")
        if path.parts[-3].isdigit() and (path.parent / "initdb").exists()
    }
    if found:
        return found[max(found)]
    if shutil.which("initdb") is None or shutil.which("postgres") is None:
        raise Art32Error(
            Code.TOOL_MISSING,
            "no PostgreSQL server is installed here to be a throw-away one",
            hint="apt-get install postgresql",
        )
    return None


@contextlib.contextmanager
def engine(place: Path, user: str, details: Details) -> Iterator[PostgreSQL]:
    """Hold a server of the newest installed version in the directory `place`."""
    where = server_directory()
    sandbox.give(place, user)
    data = place / "data"
    _initialise(client.program("initdb", where), place, data, user)
    argv = [client.program("postgres", where), "-D", str(data)]
    argv += ["-c", f"unix_socket_directories={place}"]
    argv += [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    confined = sandbox.confined(argv, user=user, writable=place)
    with run.Process(confined, stdout=run.DEVNULL) as process:
        server = PostgreSQL(place, user)
        await_start(process, server.ready)
        server.make_roles(details)
        yield server


def _initialise(program: str, place: Path, data: Path, user: str) -> None:
    argv = [program, "--pgdata", str(data), "--username", _ROLE, "--auth", "trust"]
    argv += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync", "--no-instructions"]
    done = run.run(sandbox.confined(argv, user=user, writable=place), timeout=START_SECONDS)
    if done.returncode != 0:
        said = redact.diagnostic(done.stderr)
        root = "cannot be run as root" in done.stderr.decode("utf-8", "replace")
        raise Art32Error(
            Code.DRILL_FAILED,
            "PostgreSQL refuses to run as the only user that an ordinary user's confinement has"
            if root
            else f"the throw-away server cannot be made: {said}",
            hint="run drills of PostgreSQL as root: the server still runs as `restore.engine_user`"
            if root
            else None,
        )
