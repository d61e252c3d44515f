"""An SQLite database, opened read-only by a confined `sqlite3`: a database file is hostile too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent import clock, redact, run, sandbox
from agent.backup.drill.engines import Check, counted
from agent.backup.drill.engines._file import File
from agent.backup.manifest import Details
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code

_SECONDS = 6 * 3600.0
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
    r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
)


class SQLite(File):
    """The restored file behind a shell that can neither write nor leave it (`-safe`)."""

    def _rows(self, sql: str) -> list[dict[str, Any]]:
        program = run.find("sqlite3", package="sqlite3")
        # one with a write-ahead log wants files beside it to write to, unless nothing changes it
        place = f"file:{quote(str(self.path))}?immutable=1"
        argv = [program, "-readonly", "-safe", "-json", "-bail", place]
        done = run.run(
            sandbox.confined(argv, user=self.user, readable=(self.path,)),
            stdin=f"{sql};\n".encode(),
            timeout=_SECONDS,
        )
        if done.returncode != 0:
            said = redact.diagnostic(done.stderr)
            raise Art32Error(Code.DRILL_FAILED, f"`sqlite3` cannot read what came back: {said}")
        return list(json.loads(done.stdout)) if done.stdout.strip() else []

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        sandbox.give(self.path, self.user)
        found = [next(iter(row.values())) for row in self._rows("PRAGMA integrity_check")]
        yield Check("integrity", found == ["ok"], "ok" if found == ["ok"] else "damaged")
        rows = {}
        if details.rows is not None:
            for row in self._rows(_TABLES):
                table = '"' + str(row["name"]).replace('"', '""') + '"'
                (count,) = self._rows(f"SELECT count(*) AS rows FROM {table}")  # noqa: S608
                rows[str(row["name"])] = int(count["rows"])
        yield counted(details.rows, rows)
        for number, assertion in enumerate(wanted.assertions, 1):
            answers = [list(row.values()) for row in self._rows(assertion.strip().rstrip(";"))]
            holds = answers == [[1]]
            yield Check(f"assertion {number}", holds, "holds" if holds else "does not hold")

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        if wanted.newest_row is None:
            return None
        try:
            (row,) = self._rows(wanted.newest_row.strip().rstrip(";"))
            return clock.parse_iso(str(next(iter(row.values()))))
        except ValueError as error:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"`newest_row` of source `{wanted.source}` gives no time with a zone",
                hint="it must select one text such as 2026-11-23T03:15:00Z",
            ) from error


@contextlib.contextmanager
def engine(place: Path, user: str, _details: Details) -> Iterator[SQLite]:
    """Hold the directory."""
    yield SQLite(place, user)
