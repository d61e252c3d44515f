"""The ledger: an append-only, hash-chained record of every run, good or bad.

One JSON object a line. Each record carries the SHA-256 of the line before it, so that a changed or
removed line breaks the chain; the newest backup's signed manifest carries the ledger's head, so
that a cut tail shows too. It holds names of sources, times, sizes and results: no personal data.
Drills, erasures and evidence build on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import clock, files
from agent.errors import Art32Error, Code

GENESIS = "0" * 64


@dataclass(frozen=True)
class Record:
    """One line: its number from 1, when, what happened, and the facts of that event."""

    number: int
    time: str
    event: str
    facts: dict[str, Any]


class Ledger:
    """The ledger file of one machine. Appending is durable when it returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: str, **facts: str | int | float | bool | None) -> Record:
        """Add a record and return it; raise DISK when it cannot be written durably.

        Raise LEDGER_BROKEN when the last whole line is no record. A line that a crash cut short
        was never acknowledged: it is removed.
        """
        try:
            files.make_directory(self.path.parent)
            descriptor = files.open_private(self.path)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end, last = self._last_line(descriptor)
            number = self._parse(last, 0).number + 1 if last else 1
            record = Record(number, clock.iso(clock.now()), event, dict(facts))
            line = _encode(record, _digest(last) if last else GENESIS)
            try:
                os.ftruncate(descriptor, end)
                _write_all(descriptor, line, end)
                os.fsync(descriptor)
                if number == 1:
                    files.sync_directory(self.path.parent)
            except OSError as error:
                raise self._unwritable(error) from error
        finally:
            os.close(descriptor)
        return record

    def records(self) -> Iterator[Record]:
        """Yield every record, oldest first; raise LEDGER_BROKEN where the chain does not hold."""
        previous = GENESIS
        expected = 1
        try:
            handle = self.path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error
        with handle:
            for line in handle:
                if not line.endswith(b"\n"):
                    return
                record = self._parse(line, expected)
                if record.number != expected or json.loads(line).get("previous") != previous:
                    raise self._broken(expected)
                yield record
                previous = _digest(line)
                expected += 1

    def head(self) -> str:
        """Return the SHA-256 of the last record; 64 zeros for an empty ledger."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return GENESIS
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            last = self._last_line(descriptor)[1]
        finally:
            os.close(descriptor)
        return _digest(last) if last else GENESIS

    def contains(self, digest: str) -> bool:
        """Whether a record of that SHA-256 is in the ledger: has its tail been cut or rewritten?

        The hash of an empty ledger is in each. Raise LEDGER_BROKEN as `records` does.
        """
        if digest == GENESIS:
            return True
        if not list(self.records()):
            return False
        with self.path.open("rb") as handle:
            return any(_digest(line) == digest for line in handle)

    def _last_line(self, descriptor: int) -> tuple[int, bytes]:
        """Return where the last whole line ends, and that line; empty when there is none."""
        size = os.fstat(descriptor).st_size
        window = 4096
        while True:
            start = max(0, size - window)
            tail = os.pread(descriptor, size - start, start)
            end = tail.rfind(b"\n")
            begin = tail.rfind(b"\n", 0, end) if end > 0 else -1
            if end >= 0 and (begin >= 0 or start == 0):
                return start + end + 1, tail[begin + 1 : end + 1]
            if start == 0:
                return 0, b""
            window *= 4

    def _parse(self, line: bytes, number: int) -> Record:
        try:
            fields = json.loads(line)
            return Record(
                int(fields["n"]), str(fields["time"]), str(fields["event"]), dict(fields["facts"])
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._broken(number) from error

    def _broken(self, number: int) -> Art32Error:
        place = f"record {number}" if number else "its last record"
        return Art32Error(
            Code.LEDGER_BROKEN,
            f"the ledger `{self.path}` is broken at {place}",
            hint="somebody or something changed the file: compare it with a copy, then move it "
            "away; the next run begins a new chain and says so",
        )

    def _unreadable(self, error: OSError) -> Art32Error:
        return Art32Error(
            Code.PERMISSION,
            f"the ledger `{self.path}` cannot be read: {error.strerror}",
            hint="run art32 as the user to whom the state directory belongs",
        )

    def _unwritable(self, error: OSError) -> Art32Error:
        return Art32Error(
            Code.DISK,
            f"the ledger `{self.path}` cannot be written: {error.strerror}",
            hint="a run that leaves no record is no run: free some space, or mend the rights",
        )


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of it: a disk that fills up takes a part of a line and reports no error."""
    while data:
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _encode(record: Record, previous: str) -> bytes:
    document = {
        "n": record.number,
        "time": record.time,
        "event": record.event,
        "facts": record.facts,
        "previous": previous,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
