"""Time as text and back."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import clock

MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.integers(-23 * 60, 23 * 60))
def test_iso_text_comes_back_as_the_same_moment(moment: datetime, minutes: int) -> None:
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    text = clock.iso(elsewhere)
    if moment.year >= 1000:  # strftime(3) writes younger years with fewer digits
        assert clock.parse_iso(text) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-23",
        "2026-11-23T03:15:00",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-11-23T03:15:00ZZ",
    ],
)
def test_text_that_is_no_moment_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library words most of them
        clock.parse_iso(text)


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert clock.parse_iso(text).utcoffset() == timedelta(0)


def test_stamps_sort_as_moments_do() -> None:
    begin = datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)
    stamps = [clock.stamp(begin + timedelta(seconds=second)) for second in range(5)]
    assert stamps == sorted(stamps)
    assert stamps[0] == "20261231T235958Z"


def test_the_present_has_its_zone() -> None:
    assert clock.now().utcoffset() == timedelta(0)
