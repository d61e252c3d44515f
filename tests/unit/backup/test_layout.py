"""Names in a store: what we write is read back, and nothing else is taken for ours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backup import layout
from agent.config.model import Configuration
from agent.store import names

STARTED = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
GOOD = "db1/app/20261123T031500Z-0123456789abcdef/key.pgp"
HASH = "ab" * 32
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,62}", fullmatch=True)


@given(NAMES, NAMES, st.datetimes(datetime(2000, 1, 1), datetime(9999, 1, 1)))
def test_a_new_place_is_read_back_from_its_names(host: str, source: str, at: datetime) -> None:
    place = layout.new_place(host, source, at.replace(tzinfo=UTC))
    assert layout.parse(place.name(layout.KEY)) == (place, layout.KEY)
    assert names.is_valid(place.name(layout.SIGNATURE))


def test_two_places_of_one_second_differ() -> None:
    places = {layout.new_place("db1", "app", STARTED) for _ in range(100)}
    assert len(places) == 100


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "db1",
        "db1/app",
        "db1/app/20261123T031500Z-0123456789abcdef",
        "/" + GOOD,
        "x/" + GOOD,
        GOOD.replace("db1", "DB1"),
        GOOD.replace("db1", ".."),
        GOOD.replace("db1", "db1 "),
        GOOD.replace("db1", "a" * 64),
        GOOD.replace("Z-", "-"),
        GOOD.replace("abcdef", "ABCDEF"),
        GOOD.replace("abcdef", "abcde"),
        GOOD.replace("abcdef", "abcdef0"),
        GOOD.replace("abcdef/", "abcdef\n/"),
        GOOD.replace("key.pgp", "below/key.pgp"),
        GOOD.replace("2026", "\u0662\u0660\u0662\u0666"),
    ],
)
def test_foreign_names_are_nobodys(name: str) -> None:
    assert layout.parse(name) is None


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_none(text: str) -> None:
    found = layout.parse(text)
    assert found is None or found[0].name(found[1]) == text


@given(st.integers(0, 10**9 - 1))
def test_a_segments_name_carries_its_number_and_hash(number: int) -> None:
    assert layout.parse_segment(layout.segment(number, HASH)) == (number, HASH)


@pytest.mark.parametrize(
    "name",
    [
        f"0-{HASH}.pgp",
        f"0000-{HASH}.pgp",
        f"00000-{HASH}",
        f"00000-{HASH}.pgp\n",
        f"00000-{HASH[:-1]}.pgp",
        f"00000-{HASH.upper()}.pgp",
        f"-0001-{HASH}.pgp",
        f"\u0660\u0660\u0660\u0660\u0660-{HASH}.pgp",
        f"{'9' * 5000}-{HASH}.pgp",
        "key.pgp",
    ],
)
def test_what_is_no_segment_has_no_number(name: str) -> None:
    assert layout.parse_segment(name) is None


def test_hosts_of_the_configuration_are_hosts_of_the_layout() -> None:
    pattern = Configuration.model_json_schema()["properties"]["host"]["pattern"]
    assert pattern == f"^{layout._PART}$"
