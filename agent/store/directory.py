"""The directory store: objects are files below a directory that must exist.

Nothing below the root is reached through a symbolic link: every part of a name is opened by
itself, relative to its parent, with O_NOFOLLOW (openat(2)).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from agent import clock, files
from agent.config.model import DirectoryStore
from agent.errors import Art32Error, Code
from agent.store import Bytes, Computed, Deletion, Store, StoredObject, StoreFacts, digest, names

_READ_BYTES = 1 << 20
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Directory(Store):
    """A directory as a store. Whoever may write there may also read and delete."""

    def __init__(self, config: DirectoryStore) -> None:
        self._root = config.path
        self._prefix = tuple(part for part in config.prefix.split("/") if part)

    @property
    def address(self) -> str:
        return str(self._root.joinpath(*self._prefix))

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        """Write one file, mode 0600, in directories of mode 0700; all of it durable.

        Raise CORRUPT when the bytes are not those of `sha256`, OBJECT_EXISTS when the name is
        taken, STORE_MISSING when the root is not there: it is never created, since a disk that
        is not mounted must not be filled silently.
        """
        names.check(name)
        if not (isinstance(sha256, Computed) or digest(data) == sha256.lower()):
            raise Art32Error(Code.CORRUPT, f"the bytes for `{name}` do not have the hash announced")
        *parents, last = (*self._prefix, *name.split("/"))
        with self._translated(name):
            for last_try in (False, True):
                try:
                    with self._opened(parents, make=True) as parent:
                        files.create(_through(parent, last), data)
                    return
                except FileExistsError as error:
                    raise Art32Error(
                        Code.OBJECT_EXISTS, f"`{name}` is in the store already"
                    ) from error
                except FileNotFoundError:  # a delete has just taken the empty directory away
                    if last_try:
                        raise

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the regular files whose names start with `prefix`, in order of their names."""
        *above, start = prefix.split("/")
        if above and not names.is_valid("/".join(above)):
            return
        with self._translated(prefix or "/"), contextlib.ExitStack() as stack:
            try:
                top = stack.enter_context(self._opened([*self._prefix, *above]))
            except (FileNotFoundError, NotADirectoryError):
                self._check_root()
                return
            yield from _walk(top, "".join(f"{part}/" for part in above), start)

    def get_into(self, name: str, target: memoryview) -> int:
        length = 0
        with self._reading(name) as descriptor:
            while count := os.readv(descriptor, [target[length:], bytearray(1)]):
                length += count
                if length > len(target):
                    raise Art32Error(
                        Code.CORRUPT,
                        f"`{name}` is larger than the {len(target)} bytes it may have",
                    )
        return length

    def checksum(self, name: str) -> str | None:
        digest = hashlib.sha256()
        with self._reading(name) as descriptor:
            while chunk := os.read(descriptor, _READ_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def delete(self, name: str) -> Deletion:
        """Unlink the file, then the directories that this leaves empty."""
        names.check(name)
        *parents, last = (*self._prefix, *name.split("/"))
        with self._translated(name):
            try:
                with self._opened(parents) as parent:
                    os.unlink(last, dir_fd=parent)
                    os.fsync(parent)
            except FileNotFoundError:
                self._check_root()
                return Deletion.ABSENT
            for depth in range(len(parents), len(self._prefix), -1):
                *above, empty = parents[:depth]
                try:
                    with self._opened(above) as parent:
                        os.rmdir(empty, dir_fd=parent)
                        os.fsync(parent)
                except OSError:
                    break
        return Deletion.DELETED

    def now(self) -> datetime:
        return clock.now()

    def facts(self) -> StoreFacts:
        """Say what a directory cannot do; raise STORE_MISSING when the root is not there."""
        self._check_root()
        notes = ["writer, keeper and restorer are one person here: who writes can read and delete"]
        if self._root.stat().st_dev == Path("/").stat().st_dev:
            notes.append("the directory lies on this machine's own disk and is lost with it")
        return StoreFacts(versioned=False, default_retention_days=0, notes=tuple(notes))

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[int]:
        names.check(name)
        *parents, last = (*self._prefix, *name.split("/"))
        with self._translated(name):
            try:
                with self._opened(parents) as parent:
                    descriptor = os.open(last, _FILE_FLAGS, dir_fd=parent)
            except FileNotFoundError as error:
                self._check_root()
                raise Art32Error(
                    Code.OBJECT_MISSING, f"`{name}` is not in the store `{self.address}`"
                ) from error
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise _no_object(name)
                yield descriptor
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _opened(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """Open a directory below the root, part by part, never through a symbolic link."""
        descriptor = os.open(self._checked_root(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                try:
                    below = os.open(part, _DIRECTORY_FLAGS, dir_fd=descriptor)
                except FileNotFoundError:
                    if not make:
                        raise
                    files.make_directory(_through(descriptor, part))
                    below = os.open(part, _DIRECTORY_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _checked_root(self) -> Path:
        self._check_root()
        return self._root

    def _check_root(self) -> None:
        try:
            there = stat.S_ISDIR(self._root.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            there = False
        if not there:
            raise Art32Error(
                Code.STORE_MISSING,
                f"the store's directory `{self._root}` is not there",
                hint="mount the disk, or make the directory: art32 never creates it",
            )

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._raise(error, name)

    def _raise(self, error: OSError, name: str) -> NoReturn:
        reason = os.strerror(error.errno or 0).lower()
        translate: dict[int, Callable[[], Art32Error]] = {
            **dict.fromkeys(
                (errno.ENOSPC, errno.EDQUOT),
                lambda: Art32Error(
                    Code.STORE_FULL,
                    f"the store `{self.address}` has no room left",
                    hint="prune old backups (`art32 backup prune`) or give it a larger disk",
                ),
            ),
            **dict.fromkeys(
                (errno.EACCES, errno.EPERM),
                lambda: Art32Error(
                    Code.STORE_REFUSED,
                    f"the store `{self.address}` refuses access to `{name}`",
                    hint="the directory must belong to the user who runs art32",
                ),
            ),
            **dict.fromkeys((errno.ELOOP, errno.ENOTDIR, errno.ENXIO), lambda: _no_object(name)),
        }
        known = translate.get(error.errno or 0)
        if known is not None:
            raise known() from error
        raise Art32Error(
            Code.STORE_FAILED,
            f"the store `{self.address}` failed at `{name}`: {reason}",
            hint="look at the disk: `dmesg`, `mount`, `df`",
        ) from error


def _walk(descriptor: int, path: str, start: str) -> Iterator[StoredObject]:
    """Yield what lies below an open directory, as `path` and a name that begins with `start`.

    A directory sorts as if its name ended in a slash: this makes the order of a walk the order of
    whole names.
    """
    entries: list[tuple[str, bool]] = []
    with os.scandir(descriptor) as scan:
        for entry in scan:
            if entry.name.startswith(start) and names.is_valid(entry.name):
                if entry.is_dir(follow_symlinks=False):
                    entries.append((f"{entry.name}/", True))
                elif entry.is_file(follow_symlinks=False):
                    entries.append((entry.name, False))
    for name, is_directory in sorted(entries):
        try:
            if is_directory:
                below = os.open(name.rstrip("/"), _DIRECTORY_FLAGS, dir_fd=descriptor)
                try:
                    yield from _walk(below, f"{path}{name}", "")
                finally:
                    os.close(below)
            else:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                stored_at = datetime.fromtimestamp(status.st_mtime, UTC)
                yield StoredObject(f"{path}{name}", status.st_size, stored_at)
        except FileNotFoundError:  # deleted meanwhile
            continue


def _through(descriptor: int, name: str) -> Path:
    """Return a path to a name in an open directory, for functions that take paths (proc(5))."""
    return Path(f"/proc/self/fd/{descriptor}") / name


def _no_object(name: str) -> Art32Error:
    return Art32Error(
        Code.SUSPECT,
        f"`{name}` is no regular file in directories of the store",
        hint="somebody put a symbolic link or a special file there: find out who",
    )
