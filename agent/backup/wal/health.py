"""How far PostgreSQL's archiver is behind: the server's own word, and the service's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.backup.sources import _postgresql_client as postgresql
from agent.backup.wal import state
from agent.backup.wal.state import Status
from agent.config.model import Configuration
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code

_PUSH = re.compile(r"\bwal push\b.*%p")
# Of the functions that list pg_wal, `pg_monitor` may call both (PostgreSQL 12 and later).
_QUESTION = """
SELECT json_build_object(
  'mode', current_setting('archive_mode'),
  'command', current_setting('archive_command'),
  'library', coalesce(current_setting('archive_library', true), ''),
  'timeout', (SELECT setting::int FROM pg_settings WHERE name = 'archive_timeout'),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'oldest', (SELECT coalesce(extract(epoch FROM now() - min(modification)), 0)
             FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'bytes', (SELECT coalesce(sum(size), 0) FROM pg_ls_waldir()));
"""


@dataclass(frozen=True)
class Standing:
    """What the server says: why it does not archive by art32 (None: it does), seconds without a
    write after which it ends a segment (0: never), segments that wait, seconds for which the oldest
    has waited, and the bytes in pg_wal."""

    defect: str | None
    timeout: int
    waiting: int
    oldest: float
    size: int


def standing(config: Configuration) -> Standing | None:
    """Ask the server of `wal.source`; None when the configuration names none.

    Raise CONFIG_INVALID when that is no PostgreSQL, and what asking raises.
    """
    name = config.wal.source if config.wal is not None else None
    if name is None:
        return None
    source = next(one for one in config.sources if one.name == name)
    if not isinstance(source, PostgreSQLSource):
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"`wal.source` names `{name}`, which is no source of kind `postgresql`",
            hint="name one whose role has `pg_monitor`",
        )
    if config.wal is not None and config.wal.monitor is not None:
        source = source.model_copy(update={"user": config.wal.monitor})
    database = source.database or postgresql.MAINTENANCE_DATABASE
    (found,) = postgresql.query(
        postgresql.program("psql", postgresql.directory(source.binaries)),
        postgresql.environment(source, database),
        _QUESTION,
        where=postgresql.place(source),
    )
    return Standing(
        defect=_defect(found["mode"], found["command"], found["library"]),
        timeout=int(found["timeout"]),
        waiting=int(found["waiting"]),
        oldest=float(found["oldest"]),
        size=int(found["bytes"]),
    )


def _defect(mode: str, command: str, library: str) -> str | None:
    if mode not in ("on", "always"):
        return f"`archive_mode` is `{mode}`"
    if library:  # it is asked in place of the command (PostgreSQL 15)
        return "`archive_library` is set, and `archive_command` is not asked"
    return None if _PUSH.search(command) else "`archive_command` is not `art32 wal push %p`"


def service(config: Configuration) -> Status | None:
    """Return what the service last wrote down; None when it has not shipped anything yet."""
    return state.read(config.state_directory)
