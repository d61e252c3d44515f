"""SQLite: a consistent copy by SQLite's own backup API, under whatever writer there is.

The API needs a file to copy to. It is made beside the source with mode 0600 and loses its name
before the first byte is in it: only open descriptors know it, so that it is gone with the process,
however that dies. A kill before that leaves an empty file, which the next run removes.

The copy is made in one step: SQLite starts over a copy in several steps whenever somebody writes.
Under a rollback journal writers wait for that long; with a write-ahead log they do not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent import clock, files, redact
from agent.backup.sources import CHUNK, DumpReport, RestoreRequest, _file_target
from agent.config.sources import SQLiteSource
from agent.errors import Art32Error, Code

BUSY_SECONDS = 60.0
_MAGIC = b"SQLite format 3\0"
# Bytes 18 and 19 of a database ("File Format Version Numbers") say whether it has a write-ahead
# log. While we look into the copy they say that it has none, or SQLite would make one under a
# name that is gone; the stream has them as they were.
_VERSIONS = 18
_ROLLBACK = b"\1\1"
_SMALLEST = 512
_HELD = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_COMPANIONS = ("-wal", "-shm", "-journal")


def probe(config: SQLiteSource) -> None:
    """Raise SOURCE_MISSING, SOURCE_FAILED or PERMISSION when the path is no readable database."""
    path = _require(config)
    with _failures(path), contextlib.closing(_connect(path, "mode=ro")) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def members(config: SQLiteSource) -> tuple[str, ...]:  # noqa: ARG001
    """Return the one member that a database file is."""
    return ("",)


@contextlib.contextmanager
def dump(config: SQLiteSource, member: str) -> Iterator[_Copy]:  # noqa: ARG001
    """Copy the database and give the copy as a stream of its bytes."""
    path = _require(config)
    _sweep(path)
    with contextlib.ExitStack() as stack:
        descriptor, target, reader = _nameless(path, stack)
        with _failures(path), contextlib.closing(_connect(path, "mode=ro")) as connection:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            _copy(connection, target, path)
        target.close()
        versions = os.pread(descriptor, len(_ROLLBACK), _VERSIONS)
        os.pwrite(descriptor, _ROLLBACK, _VERSIONS)
        facts = {"write_ahead_log": mode == "wal"}
        yield _Copy(descriptor, versions, reader, config, facts)


class _Copy:
    """The `Dump` of a finished copy."""

    def __init__(
        self,
        descriptor: int,
        versions: bytes,
        reader: sqlite3.Connection,
        config: SQLiteSource,
        facts: dict[str, Any],
    ) -> None:
        self._descriptor = descriptor
        self._versions = versions
        self._reader = reader
        self._config = config
        self._facts = facts
        self._offset = 0

    def read(self) -> bytes:
        chunk = os.pread(self._descriptor, CHUNK, self._offset)
        if self._offset == 0:
            chunk = chunk[:_VERSIONS] + self._versions + chunk[_VERSIONS + len(_ROLLBACK) :]
        self._offset += len(chunk)
        return chunk

    def finish(self) -> DumpReport:
        """Look into the copy: its facts, its rows, and whether SQLite finds it in order.

        A damaged database is still backed up, since there may be no better one, with a warning.
        Rows are counted and the check is made when the copy is at most `row_counts_up_to` bytes.
        """
        size = os.fstat(self._descriptor).st_size
        if self._offset != size or size == 0:
            raise Art32Error(Code.SOURCE_INCOMPLETE, "the copy of the database was not read whole")
        facts = {"format": "sqlite", "sqlite_version": sqlite3.sqlite_version, **self._facts}
        rows: dict[str, int] | None = None
        damages = 0
        try:
            for name in ("page_size", "page_count", "user_version", "application_id", "encoding"):
                facts[name] = self._reader.execute(f"PRAGMA {name}").fetchone()[0]
            if 0 < size <= self._config.row_counts_up_to:
                found = self._reader.execute("PRAGMA quick_check").fetchall()
                damages = 0 if found == [("ok",)] else len(found)
                rows = self._count()
        except sqlite3.DatabaseError:
            damages += 1
        warnings = (("quick-check-failed", damages),) if damages else ()
        return DumpReport(facts=facts, rows=rows, warnings=warnings)

    def _count(self) -> dict[str, int]:
        """Count each table that has pages of its own (a virtual table has none)."""
        names = self._reader.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
            r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
        ).fetchall()
        quoted = ((name, '"' + name.replace('"', '""') + '"') for (name,) in names)
        return {
            name: self._reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for name, table in quoted
        }


def _require(config: SQLiteSource) -> Path:
    """Return the file itself, behind any link; it must exist, since SQLite would create it."""
    try:
        path = config.path.resolve(strict=True)
    except OSError as error:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"the database `{config.path}` is not there",
            hint="correct `path` in the configuration, or see whether a mount is missing",
        ) from error
    if not path.is_file():
        raise Art32Error(Code.SOURCE_MISSING, f"`{config.path}` is not a file")
    if path.stat().st_size < _SMALLEST:
        raise Art32Error(
            Code.SOURCE_FAILED, f"`{config.path}` is empty or too short for an SQLite database"
        )
    return path


def _connect(path: Path, options: str) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path))}?{options}"
    return sqlite3.connect(
        address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


@contextlib.contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        said = redact.line(str(error))
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise Art32Error(
                Code.DISK,
                f"no room for a copy of `{path}` beside it",
                hint=f"the copy needs as much room as the database: df -h {path.parent}",
            ) from error
        hints = {
            sqlite3.SQLITE_NOTADB: "it is another file, or encrypted by an extension of SQLite",
            sqlite3.SQLITE_READONLY: "a writer died: open it once with `sqlite3` to let it recover",
            sqlite3.SQLITE_CANTOPEN: "run as a user who may read the file and write beside it",
            sqlite3.SQLITE_BUSY: "a writer holds it for too long; run again when that has ended",
        }
        raise Art32Error(
            Code.SOURCE_FAILED, f"`{path}` cannot be copied: {said}", hint=hints.get(code)
        ) from error


def _prefix(path: Path) -> str:
    return f"{files.TEMPORARY_PREFIX}copy-of-{path.name[:180]}-"


def _nameless(
    path: Path, stack: contextlib.ExitStack
) -> tuple[int, sqlite3.Connection, sqlite3.Connection]:
    """Make the file for the copy; return a descriptor, a connection to write, one to read."""
    temporary = path.parent / f"{_prefix(path)}{secrets.token_hex(8)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o600)
    except OSError as error:
        reason = (error.strerror or "error").lower()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Art32Error(
            Code.DISK if full else Code.PERMISSION,
            f"no file can be made in `{path.parent}`: {reason}",
            hint="a copy needs room beside the database, and the right to write there",
        ) from error
    stack.callback(os.close, descriptor)
    try:
        with _failures(path):
            target = stack.enter_context(contextlib.closing(_connect(temporary, "mode=rw")))
            reader = stack.enter_context(contextlib.closing(_connect(temporary, "mode=ro")))
            target.execute("PRAGMA journal_mode=OFF")  # else it looks for a name that is gone
            target.execute("PRAGMA synchronous=OFF")
        if _opened(descriptor) < 3:
            raise Art32Error(Code.DEFECT, "SQLite has not opened the file for the copy")
    finally:
        temporary.unlink()
    return descriptor, target, reader


def _opened(descriptor: int) -> int:
    """Return how many descriptors of this process are open on the same file."""
    wanted = os.fstat(descriptor)
    count = 0
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += os.path.samestat(os.fstat(int(path.name)), wanted)
    return count


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, path: Path) -> None:
    deadline = clock.monotonic() + BUSY_SECONDS

    def progress(status: int, _remaining: int, _total: int) -> None:
        if status in _HELD and clock.monotonic() > deadline:
            raise Art32Error(
                Code.SOURCE_FAILED,
                f"`{path}` was locked for {BUSY_SECONDS:.0f} s",
                hint="a writer holds it for too long; run again when that has ended",
            )

    source.backup(target, pages=-1, progress=progress, sleep=0.05)


def _sweep(path: Path) -> None:
    """Remove what a kill in the instant before the name was gone left: empty files of ours."""
    for left in path.parent.iterdir():
        if left.name.startswith(_prefix(path)) and left.is_file() and not left.is_symlink():
            with contextlib.suppress(OSError):
                if left.stat().st_size == 0:
                    left.unlink()


def check_target(request: RestoreRequest) -> None:
    """Raise unless the target is a new file in a directory that is there.

    Raise USAGE for a request for one table, TARGET_EXISTS also when a log or journal of a former
    database lies beside the target: SQLite would apply it to the restored one.
    """
    if request.only is not None:
        raise Art32Error(
            Code.USAGE,
            "one table of an SQLite backup cannot be restored alone",
            hint="restore the whole to a new file, then `ATTACH` it and copy the table",
        )
    path = _file_target.check(request)
    for ending in _COMPANIONS:
        companion = path.with_name(path.name + ending)
        if os.path.lexists(companion):
            raise Art32Error(
                Code.TARGET_EXISTS,
                f"`{companion}` belongs to a former database and would be applied to the new one",
                hint="stop what uses it and move both aside, or name another file",
            )


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _file_target.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; see `_file_target.discard`."""
    _file_target.discard(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Write the database to a new file of mode 0600; return a sentence about it.

    Raise the errors of `check_target`, and TARGET_FAILED when the stream is no SQLite database.
    """
    check_target(request)
    path, size, kept = _file_target.write(stream, request, inspect=_inspect)
    sentence = f"{size} bytes are in the new database `{path}`"
    return sentence + (f"; the old one is now `{kept}`" if kept else "")


def _inspect(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise Art32Error(Code.TARGET_FAILED, "the stream is no SQLite database")
