"""When a log is cut: by size, by age, by the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.logs.rotate import due
from tests.unit.logs.rotate.conftest import Section

NOW = datetime(2026, 11, 24, 6, 30, tzinfo=UTC)  # a Tuesday
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("more", "size", "age", "expected"),
    [
        ({"max_bytes": 100}, 100, MINUTE, "size"),
        ({"max_bytes": 100}, 99, MINUTE, None),
        ({"max_bytes": 100}, 0, 100 * DAY, None),
        ({"max_age_hours": 6, "every": "never"}, 1, 6 * HOUR, "age"),
        ({"max_age_hours": 6, "every": "never"}, 1, 6 * HOUR - MINUTE, None),
        ({"every": "never"}, 1, 1000 * DAY, None),
        ({"every": "hour"}, 1, 30 * MINUTE, None),
        ({"every": "hour"}, 1, 31 * MINUTE, "calendar"),
        ({"every": "day"}, 1, 6 * HOUR + 30 * MINUTE, None),
        ({"every": "day"}, 1, 6 * HOUR + 31 * MINUTE, "calendar"),
        ({"every": "week"}, 1, DAY + 6 * HOUR, None),
        ({"every": "week"}, 1, DAY + 7 * HOUR, "calendar"),
        ({"every": "month"}, 1, 23 * DAY, None),
        ({"every": "month"}, 1, 24 * DAY, "calendar"),
    ],
)
def test_a_log_is_cut_when_it_is_time(
    section: Section, more: dict[str, Any], size: int, age: timedelta, expected: str | None
) -> None:
    found = due.reason(section(**more), size=size, begun=NOW - age, now=NOW)
    assert found == expected


def test_a_log_whose_age_nobody_knows_is_cut_by_size_alone(section: Section) -> None:
    log = section(max_bytes=100, max_age_hours=1, every="hour")
    assert due.reason(log, size=99, begun=None, now=NOW) is None
    assert due.reason(log, size=100, begun=None, now=NOW) == "size"
