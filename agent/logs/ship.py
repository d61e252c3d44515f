"""From a raw segment to a signed manifest, in one stream.

Detect, scrub, look again, then zstd, gpg and the store as for a backup. Nothing of it is ever on a
disk but the raw segment, and after a kill everything begins again with that.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent import clock, parallel
from agent.errors import Art32Error, Code
from agent.logs.rotate.names import Segment
from agent.logs.second import Found, SecondScanner

if TYPE_CHECKING:
    from agent.backup.log_segments import Shipping
    from agent.backup.sources import DumpReport

READ_BYTES = 1 << 18
_AHEAD = 4
UNSCRUBBED = "unscrubbed"


class Scrubber(Protocol):
    """What `agent.logs.scrub.open_scrubber` returns, as far as it is needed here."""

    def scrub(self, block: bytes) -> bytes:
        """Return whole lines without what is personal in them."""

    @property
    def report(self) -> Any:
        """What was done so far: `document()` gives it for JSON."""


Blocks = Callable[[Iterator[bytes]], Iterator[bytes]]
Observe = Callable[[bytes, int], None]


@dataclass
class Treatment:
    """What is done to the lines of one segment.

    `blocks` cuts reads into blocks of whole lines; `observe` sees each raw block, with its offset,
    before it is scrubbed; `detected` is called after the last one, before anything is signed;
    `keep` sees what is shipped.
    """

    scrubber: Scrubber
    second: SecondScanner
    blocks: Blocks
    observe: Observe = lambda block, offset: None
    detected: Callable[[], None] = lambda: None
    keep: Callable[[bytes], None] = lambda data: None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shipped:
    """A segment whose signed manifest is in the store.

    `stored_bytes` is None for one that an earlier run had shipped; `raw` says that it was encrypted
    as it was, since the scrubber could not be trusted with it.
    """

    segment: Segment
    raw_bytes: int
    stored_bytes: int | None
    found: Found
    raw: bool = False


class _Stream:
    """A `Dump` of the scrubbed lines of an open segment."""

    def __init__(self, descriptor: int, segment: Segment, treatment: Treatment) -> None:
        self._segment = segment
        self._treatment = treatment
        self._scrubbed = self._lines(_reads(descriptor))

    def _lines(self, reads: Iterator[bytes]) -> Generator[bytes, None, None]:
        """Yield the lines as they are shipped: detection and scrubbing are in a thread of their
        own, a few blocks ahead of the second scanner."""
        treatment = self._treatment
        with contextlib.closing(parallel.ahead(self._scrub(reads), depth=_AHEAD)) as blocks:
            for block in blocks:
                clean = treatment.second.check(block)
                treatment.keep(clean)
                if clean:
                    yield clean

    def _scrub(self, reads: Iterator[bytes]) -> Generator[bytes, None, None]:
        offset = 0
        for block in self._treatment.blocks(reads):
            self._treatment.observe(block, offset)
            offset += len(block)
            yield self._treatment.scrubber.scrub(block)

    def read(self) -> bytes:
        return next(self._scrubbed, b"")

    def finish(self) -> DumpReport:
        from agent.backup.sources import DumpReport

        found = self._treatment.second.found
        self._treatment.detected()
        if found.too_many:
            raise Art32Error(
                Code.SCRUB_FAILED,
                f"the second scanner found {found.hits} addresses in {found.lines} scrubbed lines "
                f"of `{self._segment.name}`",
                hint="it is a defect of the scrubber, or somebody has found a way around it: "
                "please report it",
            )
        return DumpReport(
            facts={
                **_facts(self._segment),
                **self._treatment.facts,
                "scrub": self._treatment.scrubber.report.document(),
                "second_scanner_hits": found.hits,
            },
            warnings=(("address-left-by-scrubber", found.hits),) if found.hits else (),
        )

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, if it still runs: the descriptor is the caller's."""
        self._scrubbed.close()


class _RawStream(_Stream):
    """A `Dump` of an open segment as it is."""

    def __init__(self, descriptor: int, segment: Segment) -> None:
        self._segment = segment
        self._scrubbed = _reads(descriptor)

    def finish(self) -> DumpReport:
        from agent.backup.sources import DumpReport

        return DumpReport(facts={**_facts(self._segment), "raw": True})


def _reads(descriptor: int) -> Generator[bytes, None, None]:
    offset = 0
    while data := os.pread(descriptor, READ_BYTES, offset):
        offset += len(data)
        yield data


def _facts(segment: Segment) -> dict[str, Any]:
    return {"file": segment.file, "segment": segment.id, "cut": segment.stamp}


def ship(
    shipping: Shipping,
    log: str,
    segment: Segment,
    descriptor: int,
    treatment: Treatment,
) -> Shipped:
    """Ship an open segment, and return when its signed manifest is in the store and recorded.

    When the second scanner finds too much, what was sent stays without a signature, and the segment
    is encrypted raw to the recipients instead, flagged as suspicious. Raise what went wrong.
    """
    raw_bytes = os.fstat(descriptor).st_size
    found = treatment.second.found
    started = min(segment.cut, clock.now())
    try:
        stream = _Stream(descriptor, segment, treatment)
        made = shipping.ship(log, segment.id, stream, started=started, raw_bytes=raw_bytes)
    except Art32Error as error:
        if error.code is not Code.SCRUB_FAILED:
            raise
        made = shipping.ship(
            log,
            segment.id,
            _RawStream(descriptor, segment),
            started=started,
            raw_bytes=raw_bytes,
            flags=(UNSCRUBBED,),
        )
        return Shipped(segment, raw_bytes, made.stored_bytes, found, raw=True)
    return Shipped(segment, raw_bytes, made.stored_bytes, found)


def scrub_alone(segment: Segment, descriptor: int, treatment: Treatment) -> None:
    """Run an open segment through its treatment, for the copy, without shipping it."""
    with _Stream(descriptor, segment, treatment) as stream:
        while stream.read():
            pass
