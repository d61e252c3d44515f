"""Names of the write-ahead log's files, and positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backup.wal import names, place
from agent.backup.wal.names import Kind
from agent.backup.wal.place import Place
from agent.errors import Art32Error, Code

SIZES = st.sampled_from(names.SEGMENT_BYTES)


def test_postgresql_says_the_same_of_a_position() -> None:
    # SELECT pg_walfile_name('16/B374D848') of PostgreSQL 15
    found = names.containing(1, names.parse_position("16/B374D848"), names.DEFAULT_SEGMENT_BYTES)
    assert found.text == "0000000100000016000000B3"
    assert found.following(names.DEFAULT_SEGMENT_BYTES).text == "0000000100000016000000B4"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("000000010000000000000001", Kind.SEGMENT),
        ("00000002000000000000000A.partial", Kind.PARTIAL),
        ("000000010000000000000003.00000028.backup", Kind.BACKUP),
        ("0000000A.history", Kind.HISTORY),
    ],
)
def test_what_postgresql_archives_is_taken_apart(text: str, kind: Kind) -> None:
    found = names.parse(text)
    assert found is not None
    assert (found.text, found.kind) == (text, kind)


@pytest.mark.parametrize(
    "text",
    [
        *("", "000000010000000000000001.tmp", "00000001000000000000000g", "../0000000A.history"),
        *("000000010000000000000001\n", "0000000a.history", "00000000.history", "RECOVERYXLOG"),
        "000000000000000000000001",
    ],
)
def test_no_other_name_is_taken(text: str) -> None:
    assert names.parse(text) is None
    with pytest.raises(Art32Error) as caught:
        names.require(text)
    assert caught.value.code is Code.USAGE


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1), SIZES)
def test_a_position_lies_in_the_segment_that_is_named_for_it(
    timeline: int, position: int, size: int
) -> None:
    found = names.containing(timeline, position, size)
    assert names.parse(found.text) == found
    assert found.start(size) <= position < found.start(size) + size
    assert names.segment(timeline, found.number(size), size) == found
    assert names.parse_position(names.position(position)) == position


@given(st.integers(1, 2**32 - 1), st.integers(0, 2**30), st.integers(0, 2**30), SIZES)
def test_names_of_a_timeline_sort_as_their_numbers(
    timeline: int, one: int, other: int, size: int
) -> None:
    first, second = (names.segment(timeline, number, size).text for number in (one, other))
    assert (first < second) == (one < other)


@pytest.mark.parametrize("text", ["", "16", "16/", "16/G", "116/000000001", "1/2/3", "-1/2"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        names.parse_position(text)


def test_an_objects_name_tells_its_place_and_never_comes_twice() -> None:
    name = names.require("000000020000000000000003.00000028.backup")
    there = Place("db1", 7300000000000000001, name)
    made = {there.new_object() for _ in range(20)}
    assert len(made) == 20
    assert {place.parse(one) for one in made} == {there}
    assert all(one.startswith("db1/7300000000000000001/00000002/") for one in made)
    assert there.label("production").startswith("production/wal/db1/")
    assert there.label("") == there.label("production").removeprefix("production/")


@pytest.mark.parametrize(
    "text",
    [
        "db1/7/00000001/000000020000000000000001-0123456789abcdef.pgp",  # another timeline's
        "db1/07/00000001/000000010000000000000001-0123456789abcdef.pgp",
        "db1/99999999999999999999/00000001/000000010000000000000001-0123456789abcdef.pgp",
        "db1/7/00000001/000000010000000000000001.pgp",
        "db1/7/00000001/000000010000000000000001-0123456789ABCDEF.pgp",
        "../7/00000001/000000010000000000000001-0123456789abcdef.pgp",
        "db1/7/00000001/x/000000010000000000000001-0123456789abcdef.pgp",
    ],
)
def test_a_foreign_name_has_no_place(text: str) -> None:
    assert place.parse(text) is None
