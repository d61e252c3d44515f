"""What this host has shipped, so that the same is not shipped twice: one small file each.

A mark is made after the store has the object for good. It is no index: without it a segment is
stored once more, which does no harm; so nobody waits until it is on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from agent import compression, files
from agent.backup.wal.place import Place
from agent.errors import Art32Error, Code

KEPT = 1024
_PRUNE_EVERY = 128

Identity = tuple[int, int, int, int, int]


def identity(descriptor: int) -> Identity:
    """Return by what a file is known to be the same, and not changed since (stat(2)): what uses
    it again, PostgreSQL too, changes its times."""
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def of_frame(frame: bytes) -> str:
    """Return what tells a file's content, given it as one zstd frame (`compression.whole`).

    The frame is a third as long as the file. It is the same for the same file as long as zstd is,
    hence the version; of two versions nothing can be said.
    """
    return f"{compression.VERSION} {hashlib.sha256(frame).hexdigest()}"


@dataclass(frozen=True)
class Mark:
    """A file that is in the store: its identity when it was read, and what `of_frame` says."""

    identity: Identity
    content: str


class Marks:
    """The marks below a directory. Safe between threads; one process at a time has them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._guard = threading.Lock()
        self._fresh: dict[Path, Mark] = {}  # what no disk takes is remembered here
        self._kept = 0

    def get(self, place: Place) -> Mark | None:
        """Return the mark of a file; None when there is none, or it is damaged."""
        path = self._path(place)
        with self._guard:
            if path in self._fresh:
                return self._fresh[path]
        try:
            document = json.loads(path.read_bytes())
            return Mark(tuple(document["identity"]), str(document["content"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def set(self, place: Place, mark: Mark) -> None:
        """Have `get` find a mark from now on, as long as this process lives."""
        with self._guard:
            self._fresh[self._path(place)] = mark
            while len(self._fresh) > KEPT:
                del self._fresh[next(iter(self._fresh))]

    def keep(self, place: Place, mark: Mark) -> bool:
        """Leave a mark for the next process, durable when this returns; False when the disk does
        not take it."""
        path = self._path(place)
        with self._guard:
            self._kept += 1
            prune = self._kept % _PRUNE_EVERY == 1
        try:
            files.make_directory(path.parent)
            files.replace(path, json.dumps(asdict(mark)).encode())
            if prune:
                _prune(path.parent)
        except OSError:
            return False
        return True

    def _path(self, place: Place) -> Path:
        return self._directory / str(place.system_id) / place.name.text


def _prune(directory: Path) -> None:
    """Remove the oldest marks, as long as there are too many."""
    found: list[tuple[int, str]] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another mark that is being written
                found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
    found.sort()
    for _, name in found[: max(0, len(found) - KEPT)]:
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()


def require_same(mark: Mark | None, content: str, place: Place) -> bool:
    """Say whether it is known that a file with this content is in the store already.

    Raise SPLIT_BRAIN when another one of its name is: two servers write one timeline.
    """
    if mark is None or mark.content.split(" ")[0] != content.split(" ")[0]:
        return False
    if mark.content != content:
        raise Art32Error(
            Code.SPLIT_BRAIN,
            f"another file `{place.name.text}` was shipped before from this host",
            hint="two servers have written the same timeline: stop the one that should not run",
        )
    return True
