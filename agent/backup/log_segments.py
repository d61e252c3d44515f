"""A segment of a log as another kind of source: the pipeline, keys and formats of a backup.

It stands under `logs/` in the store. Its identity is chosen when the segment begins and is its
member's name: a segment that was shipped twice is recognised by that, here in the ledger, in the
plain manifest by an opaque tag, and in the encrypted details by the identity itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from agent import clock
from agent.backup import area, history, identity, layout, make, unsent
from agent.backup.identity import Writer
from agent.backup.segments import SEGMENT_BYTES
from agent.backup.shipment import Made, Parcel, Run, member_tag, ship
from agent.backup.sources import Dump
from agent.config.model import Configuration
from agent.config.sources import Source
from agent.errors import Art32Error, Code, Interrupted
from agent.store import Store, open_store

KIND = "log"
RAW_BYTES = "raw_bytes"


class LogSource(Source):
    """A log of the configuration, as the pipeline sees it."""

    kind: Literal["log"] = "log"
    shrink_warning: float = 0.0


@dataclass(frozen=True)
class _Given:
    """The dumper of one segment: its stream is there already."""

    stream: AbstractContextManager[Dump]

    def dump(self, config: Any, member: str) -> AbstractContextManager[Dump]:
        return self.stream


@dataclass(frozen=True)
class Shipping:
    """What shipping segments needs; `config` is that of the area `logs/`."""

    config: Configuration
    writer: Writer
    store: Store
    segment_bytes: int

    def warnings(self) -> list[str]:
        """Return a sentence for each key that expires soon."""
        return self.writer.warnings()

    def shipped(self, log: str, *, warn: Callable[[str], object]) -> Mapping[str, int]:
        """Return the segments of a log that the ledger knows as complete: tag to raw bytes.

        What a run that died has not said of them is said first; `warn` is given a sentence for what
        this user may not say. Raise what the store raises.
        """
        ledger, state = make.ledger_of(self.config), self.config.state_directory
        for closed in unsent.settle(state, area.LOGS, self.config.host, log, self.store, ledger):
            warn(closed)
        records = ledger.records()
        return {
            str(record.facts["member"]): int(record.facts.get(RAW_BYTES, -1))
            for record in records
            if record.event == area.LOGS.event("complete") and record.facts["source"] == log
        }

    def cut_times(self, log: str) -> list[datetime]:
        """Return when the segments of a log that the ledger knows were cut, to the second."""
        records = make.ledger_of(self.config).records()
        places = (
            layout.parse(f"{record.facts['path']}/x")
            for record in records
            if record.event == area.LOGS.event("complete") and record.facts["source"] == log
        )
        return [clock.parse_stamp(place[0].started) for place in places if place is not None]

    def tag(self, segment: str) -> str:
        """Return the opaque tag of a segment."""
        tag = member_tag(self.config.state_directory, segment)
        assert tag is not None
        return tag

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
        """Ship one segment; when this returns its signed manifest is in the store and recorded.

        `stream` gives scrubbed plaintext. Raise what went wrong; nothing is complete then, except
        after a reply of the store that was lost.
        """
        ledger = make.ledger_of(self.config)
        run = Run(
            config=self.config,
            parcel=Parcel(
                LogSource(name=log),
                _Given(stream),
                area=area.LOGS,
                started=started,
                flags=flags,
                facts={RAW_BYTES: raw_bytes},
            ),
            writer=self.writer,
            store=self.store,
            ledger=ledger,
            known=history.History(),
            progress=lambda *_: None,
            segment_bytes=self.segment_bytes,
        )
        outcome = Code.DEFECT.label
        try:
            made = ship(run, segment, None)
            outcome = ""
        except Art32Error as error:
            outcome = error.code.label
            raise
        except Interrupted:
            outcome = Code.INTERRUPTED.label
            raise
        finally:
            if outcome:
                ledger.append(area.LOGS.event("failed"), source=log, result=outcome)
        return made


@contextlib.contextmanager
def shipping(config: Configuration, *, segment_bytes: int = SEGMENT_BYTES) -> Iterator[Shipping]:
    """Hold the keys of this host for the block; raise a key error when any is unusable."""
    inner = area.within(config, area.LOGS)
    with identity.writer(config) as writer:
        yield Shipping(inner, writer, open_store(inner.store), segment_bytes)
