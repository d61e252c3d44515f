"""A base backup, unpacked by a confined tar and compared with the server's own manifest.

No server runs: that it follows its write-ahead log is rehearsed by `restore --at`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agent.backup.drill.engines import Check
from agent.backup.drill.engines._file import File
from agent.backup.manifest import Details
from agent.config.drill import DrillCheck


class BaseBackup(File):
    """The unpacked data directory."""

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        there = (self.path / "global" / "pg_control").is_file()
        yield Check("files", there, "every file is the one of the server's manifest")
        if wanted.system_identifier is not None:
            identifier = details.facts.get("system_identifier")
            yield Check(
                "system identifier",
                identifier == wanted.system_identifier,
                f"the base backup comes from {identifier}",
            )
        yield Check("log", None, "not followed in a drill: rehearse it with `restore --at`")


@contextlib.contextmanager
def engine(place: Path, user: str, _details: Details) -> Iterator[BaseBackup]:
    """Hold the directory."""
    yield BaseBackup(place, user)
