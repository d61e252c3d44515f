"""PostgreSQL: one database by `pg_dump -Fc`, or all of them with the roles as a set.

The custom format has no trailer. That a dump is whole is shown by the exit status of `pg_dump`,
and by its table of contents, which `pg_restore --list` must be able to read and which must hold
the data of every table that the dump's own snapshot knows.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from agent.backup.sources import Dump, DumpReport
from agent.backup.sources import _postgresql_client as client
from agent.backup.sources._postgresql_restore import (
    GLOBALS_FORMAT,
    check_target,
    discard,
    left,
    restore,
)
from agent.backup.sources._postgresql_snapshot import Snapshot, snapshot
from agent.backup.sources._process import Ended, Tail, failure, process_dump
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code
from agent.run import PIPE, Process

__all__ = ["check_target", "discard", "dump", "left", "members", "probe", "restore"]

# No database's member can be called like the first: a colon ends each kind.
GLOBALS = "globals:"
DATABASE = "database:"
FORMAT = "postgresql-custom"
_GLOBALS_TRAILER = b"PostgreSQL database cluster dump complete"
_DATABASES = """
SELECT pg_catalog.to_json(datname) FROM pg_catalog.pg_database
    WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY datname;
"""
_VERSION = "SELECT pg_catalog.current_setting('server_version_num')::int;"
_ANY_STATUS = range(-64, 256)
_ENTRY = re.compile(rb"^\d+; 0 (\d+) TABLE DATA ", re.MULTILINE)
_ENTRIES = re.compile(rb"^;\s+TOC Entries: (\d+)$", re.MULTILINE)


def probe(config: PostgreSQLSource) -> None:
    """Raise SOURCE_MISSING, SOURCE_FAILED, PERMISSION or TOOL_MISSING when a dump could not begin.

    The server is asked for its version as the configured role; `pg_dump` must not be older.
    """
    _require_version(config, _ask(config, _VERSION)[0])


def members(config: PostgreSQLSource) -> tuple[str, ...]:
    """Return `("",)` for one database, else `globals:` and `database:NAME` for each database.

    Databases that are templates or do not allow connections are left out.
    """
    if config.database is not None:
        return ("",)
    return (GLOBALS, *(DATABASE + name for name in _ask(config, _DATABASES)))


@contextlib.contextmanager
def dump(config: PostgreSQLSource, member: str) -> Iterator[Dump]:
    """Begin the dump of one member."""
    if member == GLOBALS:
        with _dump_globals(config) as running:
            yield running
        return
    database = config.database if member == "" else member.removeprefix(DATABASE)
    if not database:
        raise Art32Error(Code.DEFECT, f"`{member}` is no member of this source")
    with _dump_database(config, database) as running:
        yield running


def _ask(config: PostgreSQLSource, sql: str) -> list[str]:
    psql = client.program("psql", client.directory(config.binaries))
    with client.login(config, config.database or client.MAINTENANCE_DATABASE) as login:
        return client.query(
            *(psql, login.variables, sql), where=client.place(config), pass_fds=login.descriptors
        )


def _require_version(config: PostgreSQLSource, server: int | str) -> Path | None:
    """Return the directory of the programs for a server; raise SOURCE_FAILED when too old."""
    major = int(server) // 10000
    directory = client.directory(config.binaries, major=major)
    found = client.major_version(client.program("pg_dump", directory))
    if found < major:
        raise Art32Error(
            Code.SOURCE_FAILED,
            f"`pg_dump` {found} cannot dump {client.place(config)}, which is version {major}",
            hint=f"apt-get install postgresql-client-{major}, or set `binaries` to its directory",
        )
    return directory


@contextlib.contextmanager
def _dump_database(config: PostgreSQLSource, database: str) -> Iterator[Dump]:
    where = client.place(config)
    psql = client.program("psql", client.directory(config.binaries))
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(client.login(config, database))
        shared = stack.enter_context(
            snapshot(psql, first, count_up_to=config.row_counts_up_to, where=where)
        )
        directory = _require_version(config, shared.version)
        contents = stack.enter_context(_Contents(client.program("pg_restore", directory)))
        program = client.program("pg_dump", directory)

        def finish(ended: Ended) -> DumpReport:
            if ended.status != 0:
                raise _failed(ended, "pg_dump", where)
            entries = contents.check(shared)
            rows = shared.rows()
            facts = {**shared.facts, "format": FORMAT, "contents_entries": entries}
            return DumpReport(facts=facts, rows=rows)

        second = stack.enter_context(client.login(config, database))
        yield stack.enter_context(
            process_dump(
                [
                    *(program, "-Fc", "-Z0", "-w", f"--snapshot={shared.name}"),
                    f"--lock-wait-timeout={config.lock_wait_seconds}s",
                ],
                finish=finish,
                observers=(contents,),
                accepted=_ANY_STATUS,
                extra_environment=second.variables,
                pass_fds=second.descriptors,
            )
        )


@contextlib.contextmanager
def _dump_globals(config: PostgreSQLSource) -> Iterator[Dump]:
    """Dump roles, their memberships and tablespaces as SQL.

    Role passwords are left out: they need a superuser to read, and a hash is a secret that does
    not belong to whoever may restore.
    """
    where = client.place(config)
    version = _ask(config, _VERSION)[0]
    program = client.program("pg_dumpall", _require_version(config, version))
    tail = Tail(4096)

    def finish(ended: Ended) -> DumpReport:
        if ended.status != 0:
            raise _failed(ended, "pg_dumpall", where)
        if _GLOBALS_TRAILER not in tail.value:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE, "the dump of the roles does not end with its trailer"
            )
        facts = {"format": GLOBALS_FORMAT, "server_version": version, "role_passwords": "left out"}
        return DumpReport(facts=facts)

    with (
        client.login(config, client.MAINTENANCE_DATABASE) as login,
        process_dump(
            [program, "-w", "--globals-only", "--no-role-passwords"],
            finish=finish,
            observers=(tail,),
            accepted=_ANY_STATUS,
            extra_environment=login.variables,
            pass_fds=login.descriptors,
        ) as running,
    ):
        yield running


def _failed(ended: Ended, name: str, where: str) -> Art32Error:
    if ended.status < 0:
        return failure(name, ended, hint="look into the kernel's log for what ended it")
    return client.explain(ended.stderr, where=where)


class _Contents:
    """An observer that lets `pg_restore --list` read a dump's table of contents as it passes.

    `pg_restore` stops reading after the table of contents; the rest of the dump is not copied.
    """

    def __init__(self, program: str) -> None:
        self._process = Process([program, "--list"], stdin=PIPE)
        self._open = True
        self._listing = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while chunk := os.read(self._process.stdout.fileno(), 1 << 16):
            self._listing += chunk

    def __call__(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        try:
            while view and self._open:
                view = view[os.write(self._process.stdin.fileno(), view) :]
        except BrokenPipeError:
            self._open = False

    def check(self, shared: Snapshot) -> int:
        """Return the number of entries; raise SOURCE_INCOMPLETE when the contents are not whole."""
        self._process.stdin.close()
        self._reader.join()
        status = self._process.wait()
        listing = bytes(self._listing)
        entries = _ENTRIES.search(listing)
        if status != 0 or entries is None:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE,
                "`pg_restore` cannot read the table of contents of the dump",
                hint="compare the versions of `pg_dump` and `pg_restore`",
            )
        missing = shared.tables - {int(oid) for oid in _ENTRY.findall(listing)}
        if missing:
            raise Art32Error(
                Code.SOURCE_INCOMPLETE,
                f"the dump lacks the data of {len(missing)} of {len(shared.tables)} tables",
                hint="compare `pg_restore --list` with the tables of the database",
            )
        return int(entries[1])

    def __enter__(self) -> _Contents:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._reader.join(5)
        self._process.__exit__()
