"""Timelines and what a recovery along them needs."""

from __future__ import annotations

import pytest

from agent.backup.wal import names, timelines
from agent.backup.wal.timelines import Switch
from agent.errors import Art32Error, Code

SIZE = names.DEFAULT_SEGMENT_BYTES
HISTORY = (
    b"1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-23 03:14:07+01\n"
)


def segment(timeline: int, number: int) -> names.Name:
    return names.segment(timeline, number, SIZE)


def test_a_history_names_the_ancestors_and_where_they_were_left() -> None:
    assert timelines.parse(HISTORY, 3) == (Switch(1, 0x3000148), Switch(2, 0x5000000))
    assert timelines.parse(b"# a comment\n", 2) == ()


@pytest.mark.parametrize(
    "content",
    [b"1\n", b"x\t0/1\ty\n", b"1\t01\ty\n", b"3\t0/1\tof a descendant\n", b"2\t0/1\n1\t0/2\n"],
)
def test_what_is_no_history_is_damage(content: bytes) -> None:
    with pytest.raises(Art32Error) as caught:
        timelines.parse(content, 3)
    assert caught.value.code is Code.CORRUPT


@pytest.mark.parametrize(
    ("position", "timeline"),
    [(0x3000147, 1), (0x3000148, 2), (0x4FFFFFF, 2), (0x5000000, 3), (0x9000000, 3)],
)
def test_a_position_lies_on_one_timeline(position: int, timeline: int) -> None:
    assert timelines.at(position, 3, timelines.parse(HISTORY, 3)) == timeline


def test_a_recovery_reads_each_segment_from_the_timeline_that_owns_it() -> None:
    ancestors = timelines.parse(HISTORY, 3)
    found = timelines.needed(segment(1, 1), segment(3, 6), ancestors, SIZE)
    assert found == [
        segment(1, 1),
        segment(1, 2),
        segment(2, 3),  # of the switch: it begins with a copy of the parent's
        segment(2, 4),
        segment(3, 5),
        segment(3, 6),
    ]
    assert timelines.needed(segment(3, 5), segment(3, 5), ancestors, SIZE) == [segment(3, 5)]


def test_a_backup_of_a_timeline_that_was_left_before_it_leads_nowhere() -> None:
    ancestors = timelines.parse(HISTORY, 3)
    assert timelines.needed(segment(1, 4), segment(3, 6), ancestors, SIZE) == []
    assert timelines.needed(segment(4, 4), segment(3, 6), ancestors, SIZE) == []
