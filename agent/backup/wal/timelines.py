"""Timelines: which one a position belongs to, by the history files that promotions write.

A line of such a file is a parent's number, the position at which it was left, and a reason
(PostgreSQL's src/backend/access/transam/timeline.c).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from agent.backup.wal import names
from agent.errors import Art32Error, Code

HISTORY_BYTES = 1 << 20


@dataclass(frozen=True)
class Switch:
    """An ancestor and the position at which it was left."""

    timeline: int
    left_at: int


def parse(content: bytes, timeline: int) -> tuple[Switch, ...]:
    """Given the history file of a timeline, return its ancestors, oldest first.

    Raise CORRUPT when it is none, or its numbers do not rise, as PostgreSQL wants.
    """
    found: list[Switch] = []
    try:
        for line in content.decode("utf-8", "surrogateescape").split("\n"):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            found.append(Switch(int(words[0]), names.parse_position(words[1])))
        rising = [switch.timeline for switch in found] + [timeline]
        if any(later <= earlier for earlier, later in itertools.pairwise(rising)):
            raise ValueError
    except (ValueError, IndexError) as error:
        raise Art32Error(
            Code.CORRUPT, f"`{names.history(timeline).text}` is no history of a timeline"
        ) from error
    return tuple(found)


def at(position: int, timeline: int, ancestors: Sequence[Switch]) -> int:
    """Return the timeline on which a position lies for a server on `timeline`."""
    return next((one.timeline for one in ancestors if position < one.left_at), timeline)


def needed(
    first: names.Name, last: names.Name, ancestors: Sequence[Switch], segment_bytes: int
) -> list[names.Name]:
    """Return the segments from `first` to `last`, each on the timeline that a recovery to that of
    `last` reads it from: the segment of a switch is the descendant's, which begins with a copy.

    Empty when the timeline of `first` is no ancestor of that of `last`, or was left before it.
    """
    number = first.number(segment_bytes)
    if first.timeline != at(first.start(segment_bytes), last.timeline, ancestors):
        return []
    found: list[names.Name] = []
    for line in ancestors:
        for one in range(number, line.left_at // segment_bytes):
            found.append(names.segment(line.timeline, one, segment_bytes))
            number = one + 1
    found += [
        names.segment(last.timeline, one, segment_bytes)
        for one in range(number, last.number(segment_bytes) + 1)
    ]
    return found
