"""Names of segments, and nothing else: `access.log-20261124T060000.123456Z-<id>.raw`.

The moment is when the file was renamed, in UTC; the id, 64 random bits, is the segment's identity
for good. What is still to be done about a segment is in its name alone.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

RAW = ".raw"
KEPT = ".zst"
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"(.+)-([0-9]{8}T[0-9]{6}\.[0-9]{6}Z)-([0-9a-f]{16})(\.raw|\.zst)")


@dataclass(frozen=True, order=True)
class Segment:
    """A segment of the file `file`; sorted by when it was cut."""

    stamp: str
    id: str
    file: str

    @property
    def name(self) -> str:
        """Its name while it is raw."""
        return f"{self.file}-{self.stamp}-{self.id}{RAW}"

    @property
    def kept_name(self) -> str:
        """The name of its scrubbed copy."""
        return f"{self.file}-{self.stamp}-{self.id}{KEPT}"

    @property
    def cut(self) -> datetime:
        """When it was cut."""
        return datetime.strptime(self.stamp, _STAMP).replace(tzinfo=UTC)


def new(file: str, cut: datetime) -> Segment:
    """Return a segment that no other run will name."""
    return Segment(cut.astimezone(UTC).strftime(_STAMP), secrets.token_hex(8), file)


def parse(name: str, suffix: str = RAW) -> Segment | None:
    """Given a file's name, return its segment; None for any other file."""
    match = _NAME.fullmatch(name)
    if match is None or match[4] != suffix:
        return None
    segment = Segment(match[2], match[3], match[1])
    try:
        _ = segment.cut
    except ValueError:
        return None
    return segment
