"""What the engines for files have in common: the target is a name in the drill's directory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from agent.backup.drill.engines import Check
from agent.backup.manifest import Details
from agent.config.drill import DrillCheck


class File:
    """A restore to one name in a directory of its own; nothing runs."""

    def __init__(self, place: Path, user: str) -> None:
        self.path = place / "restored"
        self.target = str(self.path)
        self.user = user

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        size = self.path.stat().st_size
        yield Check("size", size == details.plain_bytes, f"{size} bytes")
        if wanted.assertions:
            yield Check("assertions", None, f"a backup of kind `{details.kind}` takes no queries")

    def newest_row(self, _wanted: DrillCheck) -> datetime | None:
        return None
