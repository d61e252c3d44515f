"""Attacks found in a segment before it is scrubbed, where `art32 logs watch` has not looked."""

from __future__ import annotations

from agent.config.logs_scan import Scan
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment
from agent.logs.scan import open_scanner
from agent.logs.scan.publish import Told, publish
from agent.logs.scan.report import weaknesses
from agent.logs.scrub import Scrubber
from agent.logs.watch import scanned_up_to


class Detection:
    """Scans the raw blocks of one segment and publishes what it finds.

    A segment that is scanned again after a kill gives findings with the same ids under the same
    name, so that nothing counts twice.
    """

    def __init__(
        self,
        settings: Scan,
        place: LogDirectory,
        segment: Segment,
        samples: Scrubber,
        told: Told | None = None,
    ) -> None:
        self._settings = settings
        self._told = told
        self._segment = segment
        self._source = str(place.path / segment.file)
        self._seen_by_watch = scanned_up_to(settings, place.path / segment.name)
        self._scanner = open_scanner(settings, scrub=samples.scrub)

    def observe(self, block: bytes, offset: int) -> None:
        """Look at a block of whole raw lines that begins there in the segment."""
        known = self._seen_by_watch - offset
        if known >= len(block):
            return
        if known > 0:
            block, offset = block[known:], offset + known
        self._scanner.feed(block, source=self._source, segment=self._segment.name, offset=offset)

    def publish(self) -> list[str]:
        """Write the findings, durably, and return warnings; raise DISK or PERMISSION.

        What the scanner could not read is in the day's record and so in the digest: it is no reason
        for every rotation to end with a warning.
        """
        found = publish(self._settings, self._scanner, self._segment.name, told=self._told)
        weak = weaknesses(self._scanner, self._settings)
        return [warning for warning in found if warning not in weak]
