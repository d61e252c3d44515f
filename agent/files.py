"""The only door to durable writes: what these functions return from is on the disk.

A file appears under its name whole or not at all, and never replaces another unless told: a plain
`rename` overwrites, so names are given with `link(2)` or `renameat2(RENAME_NOREPLACE)`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from agent.errors import Art32Error, Code

TEMPORARY_PREFIX = ".art32-"
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NO_LINK = (
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.EMLINK,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EXDEV,
    errno.ENOENT,
)


def private_mode(directory: Path, *, directories: bool = False) -> int:
    """Return the mode of what is private in a directory: its owner's alone, and its group's too
    where the directory is setgid and the group may write to it.

    So units with users of their own share one state: `/var/lib/art32` has mode 2770.
    """
    try:
        mode = directory.stat().st_mode
    except OSError:
        mode = 0
    if mode & stat.S_ISGID and mode & stat.S_IWGRP:
        return 0o770 if directories else 0o660
    return 0o700 if directories else 0o600


def open_private(path: Path, mode: int | None = None) -> int:
    """Open a file to read and write, made with a mode, by default `private_mode`, when it is not
    there; never through a symbolic link. Raise OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, private_mode(path.parent) if mode is None else mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_without_replacing(source: Path, target: Path) -> None:
    """Rename; raise FileExistsError when the target is there (renameat2(2))."""
    library = ctypes.CDLL(None, use_errno=True)
    status = library.renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    )
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def create(path: Path, data: bytes | bytearray | memoryview, *, mode: int | None = None) -> None:
    """Write a new file, whole and durable, or leave nothing; raise FileExistsError when it exists.

    Its mode is `private_mode` unless said.

    The bytes are first in a file without a name (O_TMPFILE), so that a kill leaves no litter;
    where the file system has no such files, a temporary name in the same directory does.
    """
    directory = path.parent
    mode = private_mode(directory) if mode is None else mode
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        _create_named(path, data, mode)
        return
    try:
        _write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        try:
            _link(descriptor, path)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            _create_named(path, data, mode)
            return
    finally:
        os.close(descriptor)
    sync_directory(directory)


def _link(descriptor: int, path: Path) -> None:
    """Give a file without a name its name (open(2), O_TMPFILE); without /proc, EXDEV or ENOENT."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a directory descriptor Python calls linkat(2), which can follow the link in /proc.
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=directory)
    finally:
        os.close(directory)


def _create_named(path: Path, data: bytes | bytearray | memoryview, mode: int) -> None:
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, mode)
    try:
        try:
            _write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _name(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _name(temporary: Path, path: Path) -> None:
    """Give a temporary file its final name, also where renames know no flags (NFS: EINVAL)."""
    try:
        rename_without_replacing(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        os.link(temporary, path)
        temporary.unlink()


def replace(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file of our own durably under its name, in place of what stood there."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    create(temporary, data, mode=mode)
    temporary.replace(path)
    sync_directory(path.parent)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Give a file to write; at the block's end it stands durably under the name.

    When the block raises, the name keeps what it had, and nothing else stays.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_directory(path: Path, *, mode: int | None = None) -> None:
    """Create a directory and its parents, durably; harmless when it is there.

    Its mode is `private_mode` unless said.
    """
    if path.is_dir():
        return
    make_directory(path.parent, mode=mode)
    with contextlib.suppress(FileExistsError):
        chosen = private_mode(path.parent, directories=True) if mode is None else mode
        path.mkdir(mode=chosen)
        # The kernel passes setgid on. A unit must not even name it (RestrictSUIDSGID=), but has the
        # umask that it needs; who is no unit gives back what his umask took away.
        made = stat.S_IMODE(path.stat().st_mode)
        if made & stat.S_ISGID and made & 0o777 != chosen:
            path.chmod(chosen | stat.S_ISGID)
    sync_directory(path.parent)


@contextlib.contextmanager
def claimed(directory: Path, data: bytes) -> Iterator[Callable[[], None]]:
    """Make a new file with `data` in a directory, durable, and hold its lock for the block.

    Its mode is `private_mode`: whoever shares the directory can look after this process has died.
    The lock is the kernel's and ends with this process, however that dies: a file of that
    directory that nobody has locked is what a dead owner left (`abandoned`). What is yielded
    removes the file; without that call it stays. Raise OSError.
    """
    make_directory(directory)
    while True:
        path = directory / secrets.token_hex(8)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchmod(descriptor, private_mode(directory))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is(path, descriptor):  # somebody looked before the lock was there
                continue
            _write_all(descriptor, data)
            os.fsync(descriptor)
            sync_directory(directory)
            yield functools.partial(path.unlink, missing_ok=True)
            return
        finally:
            _let_go(descriptor)


def abandoned(directory: Path) -> Iterator[tuple[Path, bytes | None]]:
    """Yield what `claimed` left in a directory when its process died: path and data, first name
    first. Each is locked while it is looked at, so that only one process looks. The data is None
    where this user may not open the file, and so cannot tell whether its owner lives.
    Raise OSError."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except PermissionError:
            yield path, None
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is(path, descriptor):
                continue
            if data := _read_all(descriptor):
                yield path, data
            else:  # it died before it had written, and so before it did anything
                path.unlink()
        except BlockingIOError:
            continue
        finally:
            _let_go(descriptor)


def _read_all(descriptor: int) -> bytes:
    pieces = []
    while piece := os.read(descriptor, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def lock(path: Path, *, what: str, wait: bool = False, mode: int | None = None) -> Iterator[None]:
    """Hold an exclusive lock for the block.

    When another process holds it, wait, or else raise LOCKED at once.
    Raise PERMISSION or DISK when the file cannot be opened. The lock is the kernel's (flock(2)):
    it ends with the process, however that dies.
    """
    try:
        make_directory(path.parent)
        descriptor = open_private(path, mode)
    except OSError as error:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        raise Art32Error(
            Code.PERMISSION if refused else Code.DISK,
            f"the lock `{path}` cannot be opened: {error.strerror}",
            hint="the state directory must be on a healthy disk and belong to the user who runs "
            "art32",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Art32Error(
                Code.LOCKED,
                f"another run of {what} is in progress",
                hint="wait for it to end, or look at it with `systemctl status` or `ps`",
            ) from error
        yield
    finally:
        _let_go(descriptor)


def _let_go(descriptor: int) -> None:
    """Release a lock and close its file. Closing alone would not do: a child that another thread
    has just forked has the file open too, and with it the lock, until it runs its program."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
