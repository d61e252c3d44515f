"""One transaction that the dump shares: its snapshot, and what is true in it.

A psql of our own exports a snapshot that `pg_dump --snapshot` adopts ("Snapshot Synchronization
Functions"), and then counts rows in it while the dump runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.backup.sources import _postgresql_client as client
from agent.backup.sources import _postgresql_properties
from agent.errors import Art32Error, Code
from agent.run import PIPE, Process, TimeoutExpired

_BEGIN = r"""
SET search_path = '';
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET row_security = off;
SET TimeZone = 'UTC';
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_catalog.json_build_object(
    'snapshot', pg_catalog.pg_export_snapshot(),
    'version', pg_catalog.current_setting('server_version_num')::int,
    'bytes', pg_catalog.pg_database_size(pg_catalog.current_database()),
    'facts', pg_catalog.json_build_object(
        'database', pg_catalog.current_database(),
        'server_version', pg_catalog.current_setting('server_version'),
        'snapshot_time', pg_catalog.statement_timestamp()));
"""

# `roles` are those without which a dump cannot be loaded even when owners and grants are left out:
# policies and user mappings name them.
# A role without the right to one of these, or a server without the function, costs that fact only:
# psql sets a savepoint before each statement. (A snapshot cannot be exported after one.)
_FACTS = r"""
\set ON_ERROR_STOP off
\set ON_ERROR_ROLLBACK on
SELECT pg_catalog.json_build_object('system_identifier', system_identifier::text)
    FROM pg_catalog.pg_control_system();
SELECT pg_catalog.json_build_object('snapshot_lsn', CASE WHEN pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END);
SELECT pg_catalog.json_build_object(
    'encoding', pg_catalog.pg_encoding_to_char(encoding),
    'collation', datcollate,
    'ctype', datctype,
    'locale_provider', pg_catalog.to_jsonb(d) ->> 'datlocprovider',
    'locale', coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale',
                       pg_catalog.to_jsonb(d) ->> 'daticulocale'),
    'collation_version', pg_catalog.to_jsonb(d) ->> 'datcollversion')
    FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database();
SELECT pg_catalog.json_build_object('roles', pg_catalog.json_agg(rolname ORDER BY rolname))
    FROM pg_catalog.pg_roles r WHERE EXISTS (
        SELECT FROM pg_catalog.pg_policy p WHERE r.oid = ANY (p.polroles)) OR EXISTS (
        SELECT FROM pg_catalog.pg_user_mappings m WHERE r.oid = m.umuser)
    HAVING pg_catalog.count(*) > 0;
"""
_FACTS_END = r"""
\set ON_ERROR_STOP on
\set ON_ERROR_ROLLBACK off
SELECT '{"end": true}';
"""

# Tables that hold rows of their own: ordinary ones and partitions. What belongs to an extension is
# made again by it and not dumped, except for tables that it marks as configuration.
_TABLES = r"""
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.objid = c.oid AND d.deptype = 'e')
"""
_LIST = f"SELECT pg_catalog.json_build_object('oid', c.oid::int8){_TABLES};\n"
# A table that cannot be counted must not end the transaction under pg_dump, which then could only
# complain of a snapshot that is gone: it goes on, and the number of answers tells.
COUNT = (
    "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n"  # noqa: S608
    "SELECT pg_catalog.format('SELECT pg_catalog.json_build_object("
    "''table'', %L, ''rows'', pg_catalog.count(*)) FROM ONLY %I.%I',"
    f" n.nspname || '.' || c.relname, n.nspname, c.relname){_TABLES}\n\\gexec\n"
)
_END = "SELECT '{\"end\": true}';\n"
_LINGER_SECONDS = 24 * 3600.0


@dataclass
class Snapshot:
    """An open transaction with an exported snapshot; made by `snapshot`.

    `name` is what `pg_dump --snapshot` takes, `version` the server's number as in 150018, `tables`
    the identifiers (oid) of all tables whose rows a dump must hold.
    """

    name: str
    version: int
    facts: dict[str, Any]
    tables: frozenset[int]
    counting: bool
    _process: Process
    _buffer: bytearray
    _where: str
    _said: int

    def rows(self) -> dict[str, int] | None:
        """End the transaction; return the rows of each table, None when they were not counted.

        Waits until the counting is done; raise SOURCE_FAILED when it failed.
        """
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        counted: dict[str, int] = {}
        answers = 0
        while (value := _receive(self._process, self._buffer)) is not None:
            answers += 1
            counted[value["table"]] = counted.get(value["table"], 0) + value["rows"]
        try:
            status = self._process.wait(_LINGER_SECONDS)
        except TimeoutExpired as error:
            raise Art32Error(Code.SOURCE_FAILED, "counting rows did not end") from error
        if status != 0 or (self.counting and answers != len(self.tables)):
            said = self._process.stderr[self._said :]
            raise client.explain(said, where=self._where, doing="counting rows failed")
        return counted if self.counting else None


def _receive(process: Process, buffer: bytearray) -> Any:
    """Return the next JSON line of psql, None at its end."""
    while b"\n" not in buffer:
        chunk = os.read(process.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        buffer += chunk
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    return client.parse([line])[0]


def _send(process: Process, sql: str) -> None:
    data = memoryview(sql.encode())
    with contextlib.suppress(BrokenPipeError):  # the end of its output tells
        while data:
            data = data[os.write(process.stdin.fileno(), data) :]


@contextlib.contextmanager
def snapshot(psql: str, login: client.Login, *, count_up_to: int, where: str) -> Iterator[Snapshot]:
    """Open a transaction, export its snapshot and begin to count rows.

    Rows are counted when the database is at most `count_up_to` bytes. Leaving the block ends the
    transaction. Raise SOURCE_MISSING or SOURCE_FAILED.
    """
    with Process(
        [psql, *client.PSQL_OPTIONS],
        stdin=PIPE,
        extra_environment={**login.variables, "PGCLIENTENCODING": "UTF8"},
        pass_fds=login.descriptors,
    ) as process:
        buffer = bytearray()

        def receive() -> Any:
            value = _receive(process, buffer)
            if value is None:
                process.wait(60)
                raise client.explain(process.stderr, where=where)
            return value

        _send(process, _BEGIN)
        head = receive()
        _send(process, _FACTS + _postgresql_properties.QUERY + _FACTS_END)
        facts = dict(head["facts"])
        while "end" not in (value := receive()):
            facts.update({key: each for key, each in value.items() if each is not None})
        _send(process, _LIST + _END)
        tables = set()
        while "end" not in (value := receive()):
            tables.add(value["oid"])
        counting = 0 <= head["bytes"] <= count_up_to and count_up_to > 0
        said = len(process.stderr)
        if counting:
            _send(process, COUNT)
        yield Snapshot(
            head["snapshot"],
            head["version"],
            facts,
            frozenset(tables),
            counting,
            process,
            buffer,
            where,
            said,
        )
