"""MySQL and MariaDB: one database by its own dump program, in one transaction.

The dump is SQL text with a trailer, which must be there. Tables of engines without transactions
are not part of the snapshot: they are named in the facts, and a warning counts them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from agent import run
from agent.backup.sources import Dump, DumpReport
from agent.backup.sources import _mysql_client as client
from agent.backup.sources._mysql_restore import TRAILER, check_target, discard, left, restore
from agent.backup.sources._mysql_rows import RowCounter
from agent.backup.sources._postgresql_client import require_private
from agent.backup.sources._process import Ended, Tail, failure, process_dump
from agent.config.sources import MySQLSource
from agent.errors import Art32Error, Code

__all__ = ["check_target", "discard", "dump", "left", "members", "probe", "restore"]

FORMAT = "mysql-sql"
_OPTIONS = (
    *("--opt", "--comments", "--single-transaction", "--quick", "--routines", "--triggers"),
    *("--events", "--hex-blob", "--no-tablespaces", "--default-character-set=utf8mb4"),
)
_ANY_STATUS = range(-64, 256)


def probe(config: MySQLSource) -> None:
    """Raise SOURCE_MISSING, SOURCE_FAILED, PERMISSION or TOOL_MISSING when no dump could begin."""
    client.dumper()
    _facts(config)


def members(config: MySQLSource) -> tuple[str, ...]:  # noqa: ARG001
    """Return the one member that a database is."""
    return ("",)


@contextlib.contextmanager
def dump(config: MySQLSource, member: str) -> Iterator[Dump]:  # noqa: ARG001
    """Begin the dump of the database."""
    facts = _facts(config)
    tail = Tail(512)
    counter = RowCounter()
    argv = [client.dumper(), *_connection(config), *_OPTIONS, "--", config.database]

    def finish(ended: Ended) -> DumpReport:
        if ended.status < 0:
            raise failure("mysqldump", ended, hint="look into the kernel's log for what ended it")
        if ended.status != 0:
            raise client.explain(ended.stderr, where=_where(config))
        if not TRAILER.search(tail.value):
            raise Art32Error(
                Code.SOURCE_INCOMPLETE,
                "the dump does not end with its trailer `-- Dump completed`",
                hint="look for a full disk or a stopped server, and run it again",
            )
        outside = facts["non_transactional_tables"]
        return DumpReport(
            facts=facts,
            rows=dict(counter.rows) if config.row_counts else None,
            warnings=(("non-transactional-tables", len(outside)),) if outside else (),
        )

    with process_dump(
        argv,
        finish=finish,
        observers=(tail, counter) if config.row_counts else (tail,),
        accepted=_ANY_STATUS,
    ) as running:
        yield running


def _where(config: MySQLSource) -> str:
    return f"the database `{config.database}`"


def _connection(config: MySQLSource) -> list[str]:
    """Return the options of a connection; the option file must be the first of all.

    It is the only one to be read: `--defaults-extra-file` would let one in a home directory, read
    after it, redirect the backup.
    """
    options = []
    if config.defaults_file is not None:
        require_private(config.defaults_file)
        options.append(f"--defaults-file={config.defaults_file}")
    if config.socket is not None:
        options.append(f"--socket={config.socket}")
    elif config.host is not None:
        options += [f"--host={config.host}", f"--port={config.port}", "--protocol=TCP"]
    return options


_FACTS = """
SELECT VERSION();
SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME = DATABASE();
SELECT HEX(t.TABLE_NAME) FROM information_schema.TABLES t
    JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
    WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE' AND e.TRANSACTIONS <> 'YES';
"""


def _facts(config: MySQLSource) -> dict[str, Any]:
    argv = [client.client(), *_connection(config), *client.QUERY_OPTIONS]
    done = run.run([*argv, f"--database={config.database}"], stdin=_FACTS.encode())
    if done.returncode != 0:
        raise client.explain(done.stderr, where=_where(config))
    version, characters, *tables = done.stdout.decode("utf-8", "replace").splitlines()
    character_set, _, collation = characters.partition("\t")
    return {
        "format": FORMAT,
        "database": config.database,
        "server_version": re.sub(r"[^\w.+~:-]", "", version),
        "character_set": character_set,
        "collation": collation,
        "non_transactional_tables": [
            bytes.fromhex(name).decode("utf-8", "replace") for name in tables if name
        ],
    }
