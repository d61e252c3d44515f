"""Which files belong to the configured names at the moment, through rotation and truncation.

Events only make this faster. What counts is a look at every name: its inode, size and head. After a
rotation the renamed file is read to its end, and so are files of the same name with a suffix that
have come since the last look: two rotations between two looks lose nothing, as long as the files
are not compressed or deleted meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent import clock
from agent.config.logs_scan import LogFormat, WatchedFile
from agent.logs.watch.tail import NotFollowed, Tail

LINGER = 60.0  # seconds without a line after which a renamed file counts as closed
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zX", b"BZh")
Identity = tuple[int, int]


class Followed:
    """All files that are followed."""

    def __init__(self, chosen: Sequence[WatchedFile]) -> None:
        self._chosen = chosen
        self.current: dict[Path, Tail] = {}
        self.renamed: list[Tail] = []
        self.missed: dict[str, str] = {}  # at the last look
        self.lost: dict[str, str] = {}  # since the start
        self._saved: list[dict[str, Any]] = []
        self._siblings: dict[Path, set[Identity]] = {}

    def restore(self, tails: Sequence[dict[str, Any]]) -> None:
        """Take up a checkpoint; files are looked for at the next `look`."""
        self._saved = list(tails)

    def state(self) -> list[dict[str, Any]]:
        """Return what `restore` takes, as JSON."""
        return [tail.state() for tail in (*self.renamed, *self.current.values())] + self._saved

    def names(self) -> Iterator[tuple[Path, LogFormat]]:
        """Yield every name that fits, in order; the first pattern that fits gives the format."""
        seen: set[Path] = set()
        for one in self._chosen:
            plain = "*" not in one.path.name
            for path in (one.path,) if plain else sorted(one.path.parent.glob(one.path.name)):
                if path not in seen:
                    seen.add(path)
                    yield path, one.format

    def look(self) -> list[Tail]:
        """Look at every name; return every file to read, renamed ones first."""
        self.missed = {}
        present = dict(self.names())
        for path, form in present.items():
            self._look_at(path, form)
        for path in [path for path in self.current if path not in present]:
            self.renamed.append(self.current.pop(path))
        for name in {one["path"] for one in self._saved} - set(map(str, self.current)):
            saved = [one for one in self._saved if one["path"] == name]
            self._catch_up(Path(name), saved[0]["format"], first=True, saved=saved)
        self._saved = []
        return self.open_files()

    def open_files(self) -> list[Tail]:
        """Return every open file, renamed ones first; one that was cut begins anew."""
        moment = clock.monotonic()
        tails = [*self.renamed, *self.current.values()]
        for tail in tails:
            if tail.was_truncated():
                tail.start_again()
            if tail.has_more():
                tail.quiet_since = moment
        return tails

    def finished(self) -> list[Tail]:
        """Return the renamed files that nobody writes any more, which the caller reads and closes.

        That is after a minute without a line: the writer has long been told to reopen.
        """
        limit = clock.monotonic() - LINGER
        done = [tail for tail in self.renamed if tail.quiet_since < limit]
        self.renamed = [tail for tail in self.renamed if tail.quiet_since >= limit]
        return done

    def close(self) -> None:
        """Close everything."""
        for tail in (*self.renamed, *self.current.values()):
            tail.close()

    def _look_at(self, path: Path, form: LogFormat) -> None:
        known = self.current.get(path)
        try:
            info = path.stat(follow_symlinks=False)
            if known is not None and (info.st_dev, info.st_ino) == known.identity:
                return
            fresh = Tail.open(path, form)
        except FileNotFoundError:
            if known is None:
                self.missed[str(path)] = "it is not there"
            else:
                self.renamed.append(self.current.pop(path))
            return
        except (NotFollowed, OSError) as error:
            self.missed[str(path)] = str(error)
            return
        fresh.quiet_since = clock.monotonic()
        if known is not None:
            known.quiet_since = clock.monotonic()
            self.renamed.append(known)
        self.current[path] = fresh
        saved = [one for one in self._saved if one["path"] == str(path)]
        rest = [one for one in saved if not fresh.resume(one)]
        self._catch_up(path, form, first=known is None, saved=rest)

    def _catch_up(
        self, path: Path, form: LogFormat, *, first: bool, saved: Sequence[dict[str, Any]]
    ) -> None:
        """Open what stands beside a name and has not been read: rotated while nobody looked.

        At the first look what the checkpoint names, and what is newer than that; later all that
        has come since. A copy of a file that is followed is not read again.
        """
        before = self._siblings.get(path, set())
        now: set[Identity] = set()
        followed = (*self.renamed, *self.current.values())
        open_now = {tail.identity for tail in followed}
        unread = False
        for sibling in _siblings(path):
            try:
                tail = Tail.open(sibling, form)
            except (NotFollowed, OSError):
                continue
            now.add(tail.identity)
            if any(tail.resume(one) for one in saved):
                unread = wanted = True
            else:
                wanted = unread if first else tail.identity not in before
                wanted = wanted and not any(tail.is_copy_of(one) for one in followed)
            packed = os.pread(tail.descriptor, 4, 0).startswith(_COMPRESSED)
            if not wanted or packed or tail.identity in open_now:
                tail.close()
                continue
            tail.path, tail.quiet_since = path, clock.monotonic()
            self.renamed.append(tail)
        self._siblings[path] = now | open_now
        found = {tail.segment for tail in (*self.renamed, *self.current.values())}
        for one in saved if first else ():
            if one["segment"] not in found:
                self.lost[str(path)] = "what was written last before it was rotated away is gone"


def _siblings(path: Path) -> list[Path]:
    """Return the rotated files of a log, the oldest first."""
    try:
        found = [
            entry.path
            for entry in os.scandir(path.parent)
            if entry.name.startswith((f"{path.name}.", f"{path.name}-"))
        ]
    except OSError:
        return []
    return sorted(map(Path, found), key=_modified)


def _modified(path: Path) -> float:
    try:
        return path.stat(follow_symlinks=False).st_mtime
    except OSError:
        return 0.0
