"""Cutting a log: the one file that grows becomes a segment that does not.

`reopen` renames; what the writer still has in hand goes into the segment until it has opened a new
file. `copytruncate` copies and empties: what is written between the last read and the truncation is
lost, and a kill between copy and truncation doubles the segment's lines.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime

from agent import clock
from agent.config.logs_rotate import RotatedLog
from agent.errors import Art32Error, Code
from agent.logs.rotate import directory, due, names
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment

_COPY = 1 << 20


@dataclass(frozen=True)
class Cut:
    """A segment that was cut now, and why."""

    segment: Segment
    reason: str
    size: int


def live_files(log: RotatedLog, place: LogDirectory) -> list[str]:
    """Return the names of the log's files, segments and copies left out."""
    return [
        name
        for name in place.names()
        if log.matches(name) and names.parse(name) is None and names.parse(name, names.KEPT) is None
    ]


def why(
    log: RotatedLog, descriptor: int, *, last_cut: datetime | None, force: bool
) -> tuple[str | None, int]:
    """Return why an open file is to be cut now (None: it is not), and its size."""
    size = os.fstat(descriptor).st_size
    if force:
        return ("asked" if size else None), size
    begun = directory.begun(descriptor)
    if log.method == "copytruncate" and last_cut is not None:
        begun = last_cut if begun is None else max(begun, last_cut)
    return due.reason(log, size=size, begun=begun, now=clock.now()), size


def cut(
    log: RotatedLog,
    place: LogDirectory,
    name: str,
    *,
    last_cut: datetime | None = None,
    force: bool = False,
) -> Cut | None:
    """Cut one file when it is due; return None when it is not, or is not there any more.

    Raise LOG_UNSAFE when the file is not what a log is, DISK when a copy has no room: the log is
    as it was then.
    """
    try:
        with place.reading(name) as descriptor:
            reason, size = why(log, descriptor, last_cut=last_cut, force=force)
            if reason is None:
                return None
            segment = names.new(name, clock.now())
            if log.method == "copytruncate":
                size = _copy_and_truncate(place, name, segment, descriptor)
            else:
                _rename(place, name, segment, descriptor)
    except FileNotFoundError:
        return None
    return Cut(segment, reason, size)


def _rename(place: LogDirectory, name: str, segment: Segment, descriptor: int) -> None:
    try:
        place.rename(name, segment.name)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Art32Error(
            Code.PERMISSION,
            f"the log `{place.path / name}` cannot be renamed: {error.strerror}",
            hint="run art32 as root, or as the user to whom the directory belongs",
        ) from error
    if not place.is_still(segment.name, descriptor):
        raise Art32Error(
            Code.LOG_UNSAFE,
            f"the log `{place.path / name}` was exchanged while it was renamed",
            hint=f"what was renamed is `{segment.name}`: look at it before the next run",
        )


def _copy_and_truncate(place: LogDirectory, name: str, segment: Segment, descriptor: int) -> int:
    """Copy all of a log into a segment, then empty the log; return the bytes that were copied."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        live = os.open(name, flags, dir_fd=place.descriptor)
    except PermissionError as error:
        raise Art32Error(
            Code.PERMISSION,
            f"the log `{place.path / name}` cannot be emptied: {error.strerror}",
            hint="run art32 as root, or as the user to whom the log belongs",
        ) from error
    try:
        if not place.is_still(name, descriptor) or not _same(live, descriptor):
            raise Art32Error(
                Code.LOG_UNSAFE, f"the log `{place.path / name}` was exchanged while it was opened"
            )
        copy = os.open(
            ".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place.descriptor
        )
        try:
            copied = _copy(descriptor, copy)
            os.fsync(copy)
            os.link(
                f"/proc/self/fd/{copy}",
                segment.name,
                dst_dir_fd=place.descriptor,
                follow_symlinks=True,
            )
            os.fsync(place.descriptor)  # before anything is emptied: a crash must not lose it all
            copied += _copy(descriptor, copy)  # what came meanwhile
            os.ftruncate(live, 0)
            os.fsync(copy)
        finally:
            os.close(copy)
    except OSError as error:
        raise Art32Error(
            Code.DISK,
            f"the log `{place.path / name}` cannot be copied: {error.strerror}",
            hint="copytruncate needs as much room as the log takes; `reopen` needs none",
        ) from error
    finally:
        os.close(live)
    return copied


def _same(one: int, other: int) -> bool:
    left, right = os.fstat(one), os.fstat(other)
    return stat.S_ISREG(left.st_mode) and (left.st_dev, left.st_ino) == (
        right.st_dev,
        right.st_ino,
    )


def _copy(source: int, target: int) -> int:
    count = 0
    while chunk := os.read(source, _COPY):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target, view) :]
        count += len(chunk)
    return count
