"""The three states of a segment, by hypothesis: write, cut, kill, ship, look.

The store is a list in memory, and a kill an exception that nothing catches: what counts is what the
names in the directory say afterwards. The same with real kills stands in `tests/faults`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from agent.backup.log_segments import Shipping
from agent.backup.shipment import Made
from agent.backup.sources import Dump
from agent.config.logs_rotate import RotatedLog
from agent.config.model import Configuration
from agent.logs.rotate import names, run
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment
from agent.logs.second import SecondScanner
from agent.logs.ship import Treatment


class Killed(BaseException):
    """The process has ended here."""


@dataclass
class Report:
    def document(self) -> dict[str, int]:
        return {}


@dataclass
class Same:
    """A scrubber of lines that hold nothing to scrub."""

    report: Report = field(default_factory=Report)

    def scrub(self, block: bytes) -> bytes:
        return block


def treat(log: RotatedLog, segment: Segment, begun: datetime, place: LogDirectory) -> Treatment:
    return Treatment(Same(), SecondScanner((24, 48)), blocks=lambda reads: reads)


@dataclass
class Archive:
    """A store and a ledger in memory, with the steps of a shipment between which a kill comes."""

    signed: list[tuple[str, str, bytes]] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=dict)
    unsigned: int = 0
    strike: Callable[[], None] = lambda: None

    def shipped(self, log: str, **_: object) -> dict[str, int]:
        return self.ledger

    def cut_times(self, log: str) -> list[datetime]:
        return []

    def tag(self, segment: str) -> str:
        return segment[::-1]

    def ship(
        self,
        log: str,
        segment: str,
        stream: AbstractContextManager[Dump],
        *,
        started: datetime,
        raw_bytes: int,
        flags: tuple[str, ...] = (),
    ) -> Made:
        assert self.ledger.get(self.tag(segment)) != raw_bytes, "it was recorded as shipped"
        self.strike()
        with stream as dump:
            data = b"".join(iter(dump.read, b""))
            dump.finish()
        self.unsigned += 1
        self.strike()
        self.signed.append((started.isoformat(), segment, data))
        self.strike()
        self.ledger[self.tag(segment)] = raw_bytes
        self.strike()
        return Made(log, segment, "", len(data), len(data), 0.0)


class Machine(RuleBasedStateMachine):
    """A log with a writer that may or may not have opened the new file yet."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="a32-states-"))
        self.logs = self.place / "logs"
        self.logs.mkdir()
        self.log = self.logs / "access.log"
        self.archive = Archive()
        self.section = RotatedLog.model_validate(
            {
                "name": "web",
                "path": self.log,
                "signal": "USR1",
                "pid_file": self.place / "none",
                "process": "none",
                "wait_seconds": 0,
            }
        )
        self.config = Configuration.model_validate(
            {
                "host": "web1",
                "state_directory": self.place / "state",
                "store": {"kind": "directory", "path": self.place},
            }
        )
        self.number = 0
        self.writer = self._open()

    def _open(self) -> int:
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    @rule(count=st.integers(1, 5))
    def write(self, count: int) -> None:
        lines = b"".join(b"line %d\n" % (self.number + step) for step in range(count))
        os.write(self.writer, lines)
        self.number += count

    @rule()
    def reopen(self) -> None:
        os.close(self.writer)
        self.writer = self._open()

    @rule()
    def rotate(self) -> None:
        result = self._rotate()
        assert result.errors == []

    @rule(after=st.integers(1, 40))
    def rotate_and_be_killed(self, after: int) -> None:
        with killed(after, self.archive), contextlib.suppress(Killed):
            self._rotate()

    @rule()
    def stop_and_ship_all(self) -> None:
        """After the writer has let go, one run leaves nothing and every line is there."""
        self._rotate()
        self.reopen()
        self._rotate()
        assert [name for name in os.listdir(self.logs) if names.parse(name)] == []
        assert self._numbers() == list(range(self.number))

    def _rotate(self) -> run.Rotation:
        return run.rotate(
            self.config, self.section, cast(Shipping, self.archive), treat, force=True
        )

    def _numbers(self) -> list[int]:
        """Return what a restore would give: each segment once, in the order of their names."""
        latest: dict[str, tuple[str, bytes]] = {}
        for started, segment, data in self.archive.signed:
            latest[segment] = (started, data)
        return [
            int(line.split()[1])
            for _, data in sorted(latest.values())
            for line in data.splitlines()
        ]

    @invariant()
    def no_line_is_lost(self) -> None:
        if not hasattr(self, "archive"):
            return
        there = set(self._numbers())
        for name in os.listdir(self.logs):
            there |= {int(line.split()[1]) for line in (self.logs / name).read_bytes().splitlines()}
        assert there == set(range(self.number))

    @invariant()
    def no_line_is_doubled(self) -> None:
        if hasattr(self, "archive"):
            numbers = self._numbers()
            assert len(numbers) == len(set(numbers))

    @invariant()
    def every_name_is_a_state(self) -> None:
        if hasattr(self, "archive"):
            for name in os.listdir(self.logs):
                assert name == "access.log" or names.parse(name) is not None

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            os.close(self.writer)
            shutil.rmtree(self.place)


@contextlib.contextmanager
def killed(after: int, archive: Archive) -> Iterator[None]:
    """Raise `Killed` before the n-th thing that the code in the block does to the world."""
    left = after

    def strike() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Killed

    def wrapped(original: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            strike()
            return original(*arguments, **more)

        return call

    archive.strike = strike
    effects = ("unlink", "fsync", "pread", "open")
    originals = {name: getattr(os, name) for name in effects}
    try:
        for name, original in originals.items():
            setattr(os, name, wrapped(original))
        yield
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
        archive.strike = lambda: None


TestThreeStates = Machine.TestCase
TestThreeStates.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
