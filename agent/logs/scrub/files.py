"""Scrubs files in place: the name holds the old file or the whole new one, never a part."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agent import files
from agent.config.scrubbing import Settings
from agent.errors import Art32Error, Code
from agent.logs.rotate import lease
from agent.logs.scrub import Report, Scrubber, lines, open_scrubber


def scrub_file(path: Path, settings: Settings) -> tuple[Report, str]:
    """Scrub a file in place and return the report and the engine.

    Mode, owner and times stay. Raise LOG_IN_USE while another process has the file open for
    writing; LEASE_UNAVAILABLE where the file system cannot tell (fcntl(2), F_SETLEASE); USAGE for a
    file that is not there; LOG_UNSAFE for what is no regular file of one name; PERMISSION, DISK.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Art32Error(Code.USAGE, f"there is no file `{path}`") from None
    except OSError as error:
        raise _refused(path, error) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise Art32Error(
                Code.LOG_UNSAFE,
                f"`{path}` is not a regular file with one name",
                hint="name the file itself; a second link would keep the raw lines",
            )
        if not lease.acquire(descriptor, str(path)):
            raise _in_use(path, "is")
        scrubber = open_scrubber(settings)
        _rewrite(descriptor, path, status, scrubber)
        return scrubber.report, scrubber.engine
    finally:
        os.close(descriptor)


def _in_use(path: Path, when: str) -> Art32Error:
    return Art32Error(
        Code.LOG_IN_USE,
        f"`{path}` {when} open for writing; it is as it was",
        hint="rotate it first, or scrub when the writer has let go of it",
    )


def _rewrite(descriptor: int, path: Path, status: os.stat_result, scrubber: Scrubber) -> None:
    try:
        with files.replacing(path, mode=stat.S_IMODE(status.st_mode)) as target:
            reads = lines.blocks_read(
                lambda memory: os.readv(descriptor, [memory]), scrubber.report
            )
            for block in reads:
                target.write(scrubber.view(block))
            target.flush()
            if (os.geteuid(), os.getegid()) != (status.st_uid, status.st_gid):
                os.fchown(target.fileno(), status.st_uid, status.st_gid)
                os.fchmod(target.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(target.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            if not lease.held(descriptor):
                raise _in_use(path, "was")
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> Art32Error:
    if isinstance(error, PermissionError):
        return Art32Error(Code.PERMISSION, f"`{path}` cannot be replaced: {error.strerror}")
    return Art32Error(
        Code.DISK,
        f"`{path}` cannot be scrubbed: {error.strerror}; it is as it was",
        hint="it needs room for a second copy beside it",
    )
