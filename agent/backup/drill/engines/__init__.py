"""Throw-away engines: one file for each kind of source, found by its name.

What is restored is hostile ground: an engine runs confined (`agent.sandbox`), with a uid of its
own, without a network, and sees nothing but its own directory. It is never near a live server.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

from agent import clock, redact
from agent.backup.manifest import Details
from agent.config.drill import DrillCheck
from agent.errors import Art32Error, Code
from agent.run import Process

START_SECONDS = 120.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `good` is None where it could not be. `detail` is for the
    person at the screen alone and goes into no record."""

    name: str
    good: bool | None
    detail: str


class Engine(Protocol):
    """A running engine that takes one backup. `target` is what a restore is told."""

    target: str

    def examine(self, details: Details, wanted: DrillCheck) -> Iterator[Check]:
        """Yield what the restored data shows; raise when the engine does not answer any more."""

    def newest_row(self, wanted: DrillCheck) -> datetime | None:
        """Return the time of the newest row, None where nothing is configured; raise DRILL_FAILED
        when the query gives no time."""


class Kind(Protocol):
    """What a file in this folder has to offer."""

    def engine(self, place: Path, user: str, details: Details) -> AbstractContextManager[Engine]:
        """Hold an engine that lives in the empty directory `place`; raise what keeps it from
        starting. Leaving the block ends every process of it."""


def kind(name: str) -> Kind:
    """Return the engines of a kind of source; raise NO_BACKUP for a kind without."""
    module = f"{__name__}.{name}"
    try:
        if not name.isidentifier() or name.startswith("_"):
            raise ModuleNotFoundError(name=module)
        return cast(Kind, importlib.import_module(module))
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise Art32Error(
            Code.NO_BACKUP, f"there is no throw-away engine for a backup of kind `{name}`"
        ) from error


def await_start(process: Process, ready: Callable[[], bool]) -> None:
    """Wait until a server answers; raise DRILL_FAILED when it ends before, or takes too long."""
    deadline = clock.monotonic() + START_SECONDS
    while not ready():
        if process.ended or clock.monotonic() > deadline:
            raise Art32Error(
                Code.DRILL_FAILED,
                f"the throw-away server did not start: {redact.diagnostic(process.stderr)}",
            )
        clock.sleep(0.1)


def counted(expected: dict[str, int] | None, found: dict[str, int]) -> Check:
    """Compare rows by table with what the backup's details say."""
    if expected is None:
        return Check("row counts", None, "the backup has none: its source was over the size")
    wrong = sorted(
        table for table in {*expected, *found} if expected.get(table) != found.get(table)
    )
    if wrong:
        shown = ", ".join(
            f"{table}: {found.get(table, 'missing')} instead of {expected.get(table, 'none')}"
            for table in wrong[:5]
        )
        return Check("row counts", False, f"{len(wrong)} of {len(expected)} tables differ: {shown}")
    return Check("row counts", True, f"{len(expected)} tables, {sum(expected.values())} rows")
