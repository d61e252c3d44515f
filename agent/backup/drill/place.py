"""Where throw-away engines live: a directory for each drill, and what killed drills left."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from agent import files, output
from agent.backup.manifest import Details
from agent.errors import Art32Error, Code

#: Servers, with the bytes that an empty one takes; of a whole one, the log that it follows.
_SERVERS = {"postgresql": 96 << 20, "mysql": 256 << 20, "basebackup": 128 << 20}
_DUMPS = ("postgresql", "mysql")
_FULL = 4 << 20
_LOCKS = "????????.lock"


@contextlib.contextmanager
def held(directory: Path) -> Iterator[Path]:
    """Hold an empty directory for an engine; first remove those of drills that were killed.

    Each has a lock beside it that its drill holds for as long as it lives. Raise DISK when the
    directory cannot be used.
    """
    with contextlib.ExitStack() as stack:
        try:
            files.make_directory(directory, mode=0o755)
            sweep(directory)
            token = secrets.token_hex(4)
            lock = directory / f"{token}.lock"
            stack.enter_context(files.lock(lock, what="this drill"))
            stack.callback(lock.unlink, missing_ok=True)
            place = directory / token
            place.mkdir(mode=0o700)
            stack.callback(shutil.rmtree, place, ignore_errors=True)
        except OSError as error:
            raise Art32Error(
                Code.DISK,
                f"the directory `{directory}` for throw-away engines cannot be used: "
                f"{(error.strerror or 'error').lower()}",
                hint="name another one as `drill.directory`: it needs room for the largest source",
            ) from error
        yield place


def require_room(directory: Path, details: Details) -> None:
    """Raise DISK when a backup cannot find room there: a server needs some to begin with, and the
    values in a dump are at least half as large in its tables."""
    data = details.plain_bytes // 2 if details.kind in _DUMPS else details.plain_bytes
    needed = data + _SERVERS.get(details.kind, 0)
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise _too_small(directory, f"it needs {output.size(needed)} and has {output.size(free)}")


def explained(directory: Path, error: Art32Error) -> Art32Error:
    """Return what a drill failed of: a server that ran out of room has other words for it."""
    with contextlib.suppress(OSError):
        if error.code is not Code.DISK and shutil.disk_usage(directory).free < _FULL:
            return _too_small(directory, "it is full")
    return error


def _too_small(directory: Path, why: str) -> Art32Error:
    return Art32Error(
        Code.DISK,
        f"there is too little room for this drill in `{directory.parent}`: {why}",
        hint="name a directory on a larger disk as `drill.directory`",
    )


def left(directory: Path) -> list[Path]:
    """Return what drills that were killed have left: plaintext that nobody will ever use."""
    found = []
    for lock in directory.glob(_LOCKS):
        with contextlib.suppress(Art32Error, OSError), files.lock(lock, what="a drill"):
            if os.path.lexists(lock.with_suffix("")):
                found.append(lock.with_suffix(""))
    return sorted(found)


def sweep(directory: Path) -> None:
    """Remove it."""
    for lock in directory.glob(_LOCKS):
        with contextlib.suppress(Art32Error), files.lock(lock, what="a drill"):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
