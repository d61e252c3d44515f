"""A directory of logs, held open, in which somebody else may be hostile.

Whoever owns a log directory can swap a log for a link while root looks at it (CVE-2016-1247 and
logrotate's history). So every part of the path is opened by itself without following links and must
belong to somebody trusted; files are opened once, checked through their descriptor, renamed and
removed relative to the directory's descriptor, and never created under a name that is taken.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent import files
from agent.errors import Art32Error, Code

_PART = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_BTIME_OFFSET = 80


@dataclass(frozen=True)
class Trust:
    """Who may own a directory of logs and the files in it, and which group may write there."""

    users: frozenset[int]
    groups: frozenset[int]


def trust(owner: str | None, group: str | None) -> Trust:
    """Return the trust in root, in this process's user, and in those names where they exist."""
    users, groups = {0, os.geteuid()}, {0}
    with contextlib.suppress(KeyError):
        if owner is not None:
            users.add(pwd.getpwnam(owner).pw_uid)
    with contextlib.suppress(KeyError):
        if group is not None:
            groups.add(grp.getgrnam(group).gr_gid)
    return Trust(frozenset(users), frozenset(groups))


@dataclass(frozen=True)
class LogDirectory:
    """An open directory; made by `opened`."""

    path: Path
    descriptor: int
    trust: Trust

    def names(self) -> list[str]:
        """Return all names in it, sorted."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208 - a descriptor

    def path_of(self, name: str) -> Path:
        """Return a path that leads through the open directory, whatever its own name is now."""
        return Path(f"/proc/self/fd/{self.descriptor}/{name}")

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[int]:
        """Hold a file open for reading.

        Raise TARGET_UNSAFE unless it is a regular file with one name that belongs to somebody
        trusted, FileNotFoundError when it is not there.
        """
        descriptor = self._open(name)
        try:
            self._check(name, os.fstat(descriptor))
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, name: str) -> int:
        try:
            return os.open(name, _READ, dir_fd=self.descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._unsafe(name, "is a symbolic link") from error
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise self._unsafe(name, "is no regular file") from error
            raise Art32Error(
                Code.PERMISSION,
                f"the log `{self.path / name}` cannot be opened: {error.strerror}",
                hint="run art32 as root, or as the user to whom the log belongs",
            ) from error

    def _check(self, name: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._unsafe(name, "is no regular file")
        if found.st_nlink != 1:
            raise self._unsafe(name, "has more than one name: a hard link may lead anywhere")
        if found.st_uid not in self.trust.users:
            raise self._unsafe(name, f"belongs to the user id {found.st_uid}")

    def _unsafe(self, name: str, why: str) -> Art32Error:
        return Art32Error(
            Code.LOG_UNSAFE,
            f"the log `{self.path / name}` {why}",
            hint="nothing was done to it; look who put it there, or name the `owner`",
        )

    def is_still(self, name: str, descriptor: int) -> bool:
        """Whether that name still stands for that open file."""
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, durably; raise FileExistsError when that is taken."""
        files.rename_without_replacing(self.path_of(old), self.path_of(new))
        os.fsync(self.descriptor)

    def remove(self, name: str, descriptor: int) -> bool:
        """Remove the name of an open file, durably; return False when it stands for another."""
        if not self.is_still(name, descriptor):
            return False
        os.unlink(name, dir_fd=self.descriptor)
        os.fsync(self.descriptor)
        return True


@contextlib.contextmanager
def opened(path: Path, trusted: Trust) -> Iterator[LogDirectory]:
    """Hold a directory open; raise LOG_UNSAFE when it, or one above it, is a link or in the hands
    of somebody who is not trusted, SOURCE_MISSING when it is not there."""
    current = os.open("/", _PART)
    try:
        so_far = Path("/")
        for part in path.parts[1:]:
            so_far /= part
            following = _step(current, part, so_far)
            os.close(current)
            current = following
            _check_directory(os.fstat(current), so_far, trusted)
        try:
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=current)
        except OSError as error:
            raise _unreadable(so_far, error) from error
    finally:
        os.close(current)
    try:
        yield LogDirectory(path, readable, trusted)
    finally:
        os.close(readable)


def _step(current: int, part: str, so_far: Path) -> int:
    try:
        return os.open(part, _PART, dir_fd=current)
    except FileNotFoundError as error:
        raise Art32Error(
            Code.SOURCE_MISSING,
            f"the directory `{so_far}` does not exist",
            hint="correct `path` under [[logs.rotate]]",
        ) from error
    except NotADirectoryError as error:  # also for a link: O_PATH | O_DIRECTORY | O_NOFOLLOW
        raise Art32Error(
            Code.LOG_UNSAFE,
            f"`{so_far}` is a symbolic link or no directory",
            hint="name the real directory in `path`",
        ) from error
    except OSError as error:
        raise _unreadable(so_far, error) from error


def _unreadable(path: Path, error: OSError) -> Art32Error:
    return Art32Error(
        Code.PERMISSION,
        f"the directory `{path}` cannot be opened: {error.strerror}",
        hint="run art32 as root, or as the user to whom the logs belong",
    )


def _check_directory(found: os.stat_result, path: Path, trusted: Trust) -> None:
    if found.st_uid not in trusted.users:
        raise Art32Error(
            Code.LOG_UNSAFE,
            f"the directory `{path}` belongs to the user id {found.st_uid}",
            hint="name that user as `owner` under [[logs.rotate]], if it may rule over the logs",
        )
    if found.st_mode & stat.S_ISVTX:
        return  # others may add names there, and neither rename nor remove these
    if found.st_mode & stat.S_IWOTH:
        raise Art32Error(
            Code.LOG_UNSAFE,
            f"everybody may write to the directory `{path}`",
            hint=f"chmod o-w {path}",
        )
    if found.st_mode & stat.S_IWGRP and found.st_gid not in trusted.groups:
        raise Art32Error(
            Code.LOG_UNSAFE,
            f"the group id {found.st_gid} may write to the directory `{path}`",
            hint=f"chmod g-w {path}, or name that `group` under [[logs.rotate]]",
        )


def begun(descriptor: int) -> datetime | None:
    """Return when an open file was made (statx(2), stx_btime); None where nobody knows."""
    library = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if library.statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) != 0:
        return None
    raw = buffer.raw
    if not int.from_bytes(raw[:4], "little") & _STATX_BTIME:
        return None
    seconds = int.from_bytes(raw[_BTIME_OFFSET : _BTIME_OFFSET + 8], "little", signed=True)
    return datetime.fromtimestamp(seconds, UTC)
