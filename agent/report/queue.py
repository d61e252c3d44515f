"""Reports that wait, one small file each, cleaned before they are written.

Bounded in number and bytes: when there is no room the oldest go, and are counted. Several users
put and one sends, so where the state directory is a group's, so is this one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.errors import Art32Error

_REPORTS, _BEATS = "queue", "beats"
_COUNTS = "counts.json"
_LOCK = "lock"
_MOST_READ = 64 << 10
_PATIENCE = 0.5
_MOST_KNOWN = 500


@dataclass(frozen=True)
class Waiting:
    """How many reports wait, how large they are, and since when the oldest does (seconds of the
    epoch, by the file)."""

    count: int
    size: int
    oldest: float | None


class Queue:
    """The directory `report` of the state directory."""

    def __init__(self, directory: Path, *, most: int, most_bytes: int) -> None:
        self.directory = directory
        self._most = most
        self._most_bytes = most_bytes
        self.file_mode = files.private_mode(directory.parent)

    def prepare(self) -> None:
        """Make the directory. Raise OSError."""
        self._made(".")

    def put(self, data: bytes) -> int:
        """Keep a report; return how many others it has driven out. Raise OSError."""
        place = self._made(_REPORTS)
        dropped = 0
        entries = list(self._entries(place))
        size = sum(one.size for one in entries)
        while entries and (len(entries) >= self._most or size + len(data) > self._most_bytes):
            oldest = entries.pop(0)
            size -= oldest.size
            with contextlib.suppress(FileNotFoundError):
                oldest.path.unlink()
            dropped += 1
        moment = int(clock.now().timestamp() * 1_000_000)
        name = f"{moment:020d}-{secrets.token_hex(6)}.json"
        files.create(place / name, data, mode=self.file_mode)
        return dropped

    def beat(self, duty: str) -> None:
        """Note that a duty has succeeded just now. Raise OSError."""
        path = self._made(_BEATS) / duty
        files.replace(path, clock.iso(clock.now()).encode(), mode=self.file_mode)

    def waiting(self) -> Waiting:
        """Return how much waits. Raise OSError."""
        entries = list(self._entries(self.directory / _REPORTS))
        oldest = min((one.modified for one in entries), default=None)
        return Waiting(len(entries), sum(one.size for one in entries), oldest)

    def reports(self) -> Iterator[tuple[Path, bytes]]:
        """Yield what waits, oldest first: what another user has put there is not to be trusted.

        What is no file, or too large for a report, is removed.
        """
        for entry in list(self._entries(self.directory / _REPORTS)):
            data = _read(entry.path)
            if data is not None:
                yield entry.path, data
                continue
            with contextlib.suppress(OSError):
                entry.path.unlink()

    def beats(self) -> Iterator[tuple[Path, str]]:
        """Yield the duties that have succeeded and when: path, and text that may be anything."""
        for entry in list(self._entries(self.directory / _BEATS)):
            data = _read(entry.path)
            yield entry.path, "" if data is None else data.decode("utf-8", "replace")

    @contextlib.contextmanager
    def counts(self) -> Iterator[dict[str, Any]]:
        """Yield what is remembered, and write it when the block has changed it.

        Another process has it for an instant at most; when it does not let go, what the block
        changes is not remembered. Raise OSError.
        """
        self._made(".")
        with contextlib.ExitStack() as held:
            locked = self._lock(held)
            known = self._known()
            before = json.dumps(known)
            yield known
            if locked and json.dumps(known) != before:
                data = json.dumps(known).encode()
                files.replace(self.directory / _COUNTS, data, mode=self.file_mode)

    def read_counts(self) -> dict[str, Any]:
        """Return what is remembered, without changing it."""
        return self._known()

    def _lock(self, held: contextlib.ExitStack) -> bool:
        limit = clock.monotonic() + _PATIENCE
        while True:
            try:
                lock = files.lock(self.directory / _LOCK, what="reports", mode=self.file_mode)
                held.enter_context(lock)
                return True
            except Art32Error:
                if clock.monotonic() >= limit:
                    return False
                clock.sleep(0.02)

    def _known(self) -> dict[str, Any]:
        data = _read(self.directory / _COUNTS)
        try:
            known = json.loads(data or b"{}")
        except ValueError:
            known = {}
        known = known if isinstance(known, dict) else {}
        recent = known.get("recent")
        known["recent"] = (
            dict(list(recent.items())[-_MOST_KNOWN:]) if isinstance(recent, dict) else {}
        )
        return known

    def _made(self, name: str) -> Path:
        for path in (self.directory, self.directory / name):
            if not path.is_dir():
                files.make_directory(path)
        return self.directory / name

    @staticmethod
    def _entries(place: Path) -> Iterator[_Entry]:
        try:
            found = sorted(os.scandir(place), key=lambda one: one.name)
        except FileNotFoundError:
            return
        for one in found:
            if one.name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):
                info = one.stat(follow_symlinks=False)
                yield _Entry(Path(one.path), info.st_size, info.st_mtime)


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    modified: float


def _read(path: Path) -> bytes | None:
    """Return a small regular file; None for all else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        data = os.read(descriptor, _MOST_READ + 1)
        return data if len(data) <= _MOST_READ else None
    finally:
        os.close(descriptor)
