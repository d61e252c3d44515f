"""PostgreSQL's names for the files of its write-ahead log, and their arithmetic.

A segment's name is three times eight hexadecimal digits: timeline, and the position in two parts
(PostgreSQL's src/include/access/xlog_internal.h). Positions (LSN) are plain integers of bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from agent.errors import Art32Error, Code

DEFAULT_SEGMENT_BYTES = 16 << 20
SEGMENT_BYTES = tuple(1 << power for power in range(20, 31))  # what initdb --wal-segsize takes
_LOG_BYTES = 1 << 32
_NAME = re.compile(
    r"([0-9A-F]{8})(?:\.history|([0-9A-F]{8})([0-9A-F]{8})(?:\.partial|\.([0-9A-F]{8})\.backup)?)"
)


class Kind(Enum):
    """What a file is: a whole segment, one that a promotion cut short, the label of a base backup,
    where a timeline came from."""

    SEGMENT = "segment"
    PARTIAL = "partial"
    BACKUP = "backup"
    HISTORY = "history"


@dataclass(frozen=True)
class Name:
    """A parsed name. `high` and `low` are the two parts of the segment's number, 0 in a history."""

    text: str
    kind: Kind
    timeline: int
    high: int = 0
    low: int = 0

    def number(self, segment_bytes: int) -> int:
        """Return the segment's number, from 0, on a line without gaps."""
        return self.high * (_LOG_BYTES // segment_bytes) + self.low

    def start(self, segment_bytes: int) -> int:
        """Return the position at which the segment begins."""
        return self.number(segment_bytes) * segment_bytes

    def following(self, segment_bytes: int) -> Name:
        """Return the next segment's name on this timeline."""
        return segment(self.timeline, self.number(segment_bytes) + 1, segment_bytes)


def parse(text: str) -> Name | None:
    """Return a file's name taken apart; None when PostgreSQL would not archive such a file."""
    match = _NAME.fullmatch(text)
    if match is None or int(match[1], 16) == 0:
        return None
    timeline = int(match[1], 16)
    if match[2] is None:
        return Name(text, Kind.HISTORY, timeline)
    kind = Kind.SEGMENT
    if text.endswith(".partial"):
        kind = Kind.PARTIAL
    elif match[4] is not None:
        kind = Kind.BACKUP
    return Name(text, kind, timeline, int(match[2], 16), int(match[3], 16))


def require(text: str) -> Name:
    """Return a file's name taken apart; raise USAGE when it is none of the archive's."""
    name = parse(text)
    if name is None:
        shown = text.encode("unicode_escape").decode("ascii")[:40]
        raise Art32Error(
            Code.USAGE,
            f"`{shown}` is no file of a write-ahead log",
            hint="archive_command passes `%p`, restore_command passes `%f %p`",
        )
    return name


def segment(timeline: int, number: int, segment_bytes: int) -> Name:
    """Return the name of a whole segment."""
    high, low = divmod(number, _LOG_BYTES // segment_bytes)
    return Name(f"{timeline:08X}{high:08X}{low:08X}", Kind.SEGMENT, timeline, high, low)


def containing(timeline: int, position: int, segment_bytes: int) -> Name:
    """Return the name of the segment that holds a position."""
    return segment(timeline, position // segment_bytes, segment_bytes)


def history(timeline: int) -> Name:
    """Return the name of a timeline's history file."""
    return Name(f"{timeline:08X}.history", Kind.HISTORY, timeline)


def parse_position(text: str) -> int:
    """Given an LSN as in `16/B374D848`, return it; raise ValueError when it is none."""
    high, slash, low = text.partition("/")
    if not slash or not re.fullmatch(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", text):
        raise ValueError("a position is two hexadecimal numbers, as in 16/B374D848")
    return int(high, 16) << 32 | int(low, 16)


def position(number: int) -> str:
    """Return an LSN as PostgreSQL writes it."""
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
