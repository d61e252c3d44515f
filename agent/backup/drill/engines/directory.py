"""A directory, unpacked by a confined tar."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from agent.backup.drill.engines import Check
from agent.backup.drill.engines._file import File
from agent.backup.manifest import Details
from agent.config.drill import DrillCheck


class Directory(File):
    """The unpacked tree."""

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        count = sum(len(names) + len(folders) for _, folders, names in os.walk(self.path))
        empty = "nothing is in it: was its volume mounted when it was backed up?"
        yield Check("entries", count > 0, f"{count} files and directories" if count else empty)
        for name in wanted.must_exist:
            path = self.path / name
            there = os.path.lexists(path) and self.path in path.resolve().parents
            yield Check(f"`{name}`", there, "is there" if there else "is missing")


@contextlib.contextmanager
def engine(place: Path, user: str, _details: Details) -> Iterator[Directory]:
    """Hold the directory."""
    yield Directory(place, user)
