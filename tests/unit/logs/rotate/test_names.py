"""Names of segments: whatever is no segment is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.logs.rotate import names

FILES = st.text(min_size=1, max_size=40).filter(lambda text: "/" not in text and "\n" not in text)


@given(file=FILES, cut=st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1)))
def test_a_name_says_all_about_its_segment(file: str, cut: datetime) -> None:
    segment = names.new(file, cut.replace(tzinfo=UTC))
    assert names.parse(segment.name) == segment
    assert names.parse(segment.kept_name, names.KEPT) == segment
    assert names.parse(segment.kept_name) is None
    assert segment.cut == cut.replace(tzinfo=UTC)


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1)), max_size=8))
def test_segments_sort_by_when_they_were_cut(moments: list[datetime]) -> None:
    segments = [names.new("access.log", moment.replace(tzinfo=UTC)) for moment in moments]
    assert [segment.cut for segment in sorted(segments)] == sorted(
        moment.replace(tzinfo=UTC) for moment in moments
    )


@pytest.mark.parametrize(
    "name",
    [
        "access.log",
        "access.log.1",
        "access.log-20261124",
        "access.log-20261124T060000.123456Z-0123456789abcdef",
        "access.log-20261124T060000.123456Z-0123456789abcde.raw",
        "access.log-20261324T060000.123456Z-0123456789abcdef.raw",
        "access.log-20261124T060000.123456Z-0123456789ABCDEF.raw",
        "access.log-20261124T060000Z-0123456789abcdef.raw",
        "-20261124T060000.123456Z-0123456789abcdef.raw",
        "access.log-20261124T060000.123456Z-0123456789abcdef.raw.gz",
    ],
)
def test_what_is_no_segment_is_none(name: str) -> None:
    assert names.parse(name) is None
