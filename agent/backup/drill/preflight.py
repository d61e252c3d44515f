"""The drills' part of `art32 doctor`: what would keep one from being made, or near a live server.

Nothing is said on a machine that neither makes drills nor waits for any.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from agent import clock, output
from agent.backup import make
from agent.backup.drill import place, record
from agent.backup.drill.engines import postgresql
from agent.backup.finding import Finding
from agent.config.model import Configuration
from agent.errors import Art32Error, ExitStatus
from agent.ledger import Record

_PROGRAMS = {
    "mysql": ("mariadbd", "mariadb-install-db", "mariadb"),
    "sqlite": ("sqlite3",),
    "directory": ("tar",),
}
_SERVERS = ("postgres", "mariadbd", "mysqld")
_ENGINES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "sqlite3", "directory": "tar"}
_PACKAGES = {"postgresql": "postgresql", "mysql": "mariadb-server", "sqlite": "sqlite3"}
_LIVE = ("PG_VERSION", "ibdata1")
# sun_path is 108 bytes (unix(7)); the token of a drill and PostgreSQL's name for a socket follow
_LONGEST_PATH = 107 - len("/01234567/.s.PGSQL.5432")
_ROOM = 2.0


def look(config: Configuration) -> Iterator[Finding]:
    """Yield what was found; raise LEDGER_BROKEN."""
    records = list(make.ledger_of(config).records())
    known = record.drills(records)
    if not known and not config.drill.checks and config.service.role != "restorer":
        return
    yield from _engines(config, records)
    yield from _place(config, max((_plain_bytes(one) for one in records), default=0))
    yield from _neighbours(config.drill.directory)
    for one in record.standings(config, records, clock.now()):
        shown = f"last did well {clock.iso(one.last_good)}" if one.last_good else "never did well"
        if one.last_result not in (None, "ok"):
            shown += f"; the last one ended with `{one.last_result}`"
        subject = f"drill {one.name}"
        yield Finding(subject, None if one.overdue else True, shown, "art32 drill run")


def _plain_bytes(one: Record) -> int:
    found = one.facts.get("plain_bytes") if one.event == record.DRILLED else None
    return found if isinstance(found, int) else 0


def _engines(config: Configuration, records: list[Record]) -> Iterator[Finding]:
    """Look for the programs of each engine: those of kinds that are drilled here must be there."""
    needed = {str(one.facts.get("kind")) for one in records if one.event == record.DRILLED}
    needed |= {source.kind for source in config.sources}
    if "basebackup" in needed:
        needed.add("postgresql")
    there = {kind: _missing(kind) is None for kind in _ENGINES}
    for kind in sorted(needed & set(_ENGINES)):
        if (program := _missing(kind)) is not None:
            yield Finding(
                f"engine {_ENGINES[kind]}",
                False,
                f"`{program}` is not installed: no backup of kind `{kind}` can be drilled",
                f"apt-get install {_PACKAGES.get(kind, program)}",
                ExitStatus.CONFIGURATION,
            )
    names = ", ".join(_ENGINES[kind] for kind, good in there.items() if good)
    absent = ", ".join(_ENGINES[kind] for kind, good in there.items() if not good)
    yield Finding("engines", True, f"{names or 'none'}{f'; not {absent}' if absent else ''}")


def _missing(kind: str) -> str | None:
    """Return the first program of an engine that is not installed."""
    if kind == "postgresql":
        try:
            postgresql.server_directory()
        except Art32Error:
            return "initdb"
        return None
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return next((name for name in _PROGRAMS[kind] if shutil.which(name, path=path) is None), None)


def _place(config: Configuration, largest: int) -> Iterator[Finding]:
    directory = config.drill.directory
    subject = "drill directory"
    if len(os.fsencode(directory)) > _LONGEST_PATH:
        yield Finding(
            subject,
            False,
            f"`{directory}` is too long for a server's socket: {_LONGEST_PATH} bytes at most",
            "name a shorter one as `drill.directory`",
            ExitStatus.CONFIGURATION,
        )
        return
    above = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(above).free
    wanted = f"; the largest backup that was drilled has {output.size(largest)}" if largest else ""
    yield Finding(
        subject,
        False if free < largest else None if free < _ROOM * largest else True,
        f"{output.size(free)} free at {directory}{wanted}",
        "a database with its indexes takes more than its dump: make room, or name another disk",
        ExitStatus.STORE,
    )
    for path in place.left(directory):
        detail = f"a drill that was killed left plaintext in `{path}`"
        yield Finding("drills", None, detail, "the next `art32 drill run` removes it")


def _neighbours(directory: Path) -> Iterator[Finding]:
    """Look for live servers: their data around the drills' directory, their processes anywhere."""
    for path in (directory, *directory.parents):
        if any((path / name).exists() for name in _LIVE):
            yield Finding(
                "drill directory",
                False,
                f"`{directory}` lies in the data of a database server: `{path}`",
                "name a directory far from it as `drill.directory`",
                ExitStatus.CONFIGURATION,
            )
            return
    found = {
        name for name, cwd in _processes() if name in _SERVERS and directory not in cwd.parents
    }
    if found:
        yield Finding(
            "drills",
            None,
            f"a database server runs on this machine: {', '.join(sorted(found))}: a drill takes "
            "its memory and its disk, though never its data",
            "drill on a machine of its own",
        )


def _processes() -> Iterator[tuple[str, Path]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text().strip()
                if name in _SERVERS:
                    yield name, _working_directory(entry)


def _working_directory(entry: Path) -> Path:
    try:
        return (entry / "cwd").readlink()
    except OSError:
        return Path("/")
