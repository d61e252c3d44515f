from __future__ import annotations

import json
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.logs.scan.windows import REPEATED_SHARE, DistinctWindow, Window

EVENTS = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 60), st.integers(0, 3)),
    max_size=60,
)


@given(events=EVENTS, threshold=st.integers(2, 5), seconds=st.integers(0, 30))
def test_a_window_fires_exactly_when_so_many_events_lie_within_it(
    events: list[tuple[bytes, int, int]], threshold: int, seconds: int
) -> None:
    window = Window(threshold, seconds, capacity=1000)
    kept: dict[bytes, list[int]] = defaultdict(list)
    for key, moment, _ in events:
        kept[key] = [*kept[key], moment][-threshold:]
        times = kept[key]
        expected = len(times) == threshold and max(times) - min(times) <= seconds
        assert window.add(key, moment) == expected
        if expected:
            kept[key] = []


@given(events=EVENTS, threshold=st.integers(2, 4), seconds=st.integers(0, 30))
def test_a_distinct_window_never_fires_for_fewer_values(
    events: list[tuple[bytes, int, int]], threshold: int, seconds: int
) -> None:
    window = DistinctWindow(threshold, seconds, capacity=1000)
    seen: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for key, moment, value in sorted(events, key=lambda one: one[1]):
        seen[key].append((moment, value))
        recent = {one for when, one in seen[key] if moment - when <= seconds}
        fires = window.add(key, moment, value)
        assert fires == (len(recent) >= threshold)
        if fires:
            seen[key] = []


@pytest.mark.parametrize("kind", [Window, DistinctWindow])
def test_a_sprayer_of_addresses_does_not_exhaust_memory(kind: type) -> None:
    window = kind(3, 600, capacity=1000)

    def add(key: bytes, moment: float, value: int) -> bool:
        arguments = (key, moment) if kind is Window else (key, moment, value)
        return bool(window.add(*arguments))

    assert not add(b"attacker", 0, 0)
    assert not add(b"attacker", 1, 1)
    for number in range(50_000):
        add(b"%d" % number, 2, 0)
    assert len(window) <= 1000 + 1000 // REPEATED_SHARE
    assert window.forgotten == 49_000
    assert add(b"attacker", 3, 2), "who was seen twice before the flood is still counted"


@pytest.mark.parametrize("kind", [Window, DistinctWindow])
def test_an_address_seen_once_is_what_a_flood_pushes_out(kind: type) -> None:
    window = kind(2, 600, capacity=100)
    more = () if kind is Window else (7,)
    window.add(b"slow", 0, *more)
    for number in range(100):
        window.add(b"%d" % number, 1, *more)
    assert window.count(b"slow", 1) == 0
    assert window.forgotten == 1


def test_repeated_keys_are_bounded_too() -> None:
    window = Window(10, 600, capacity=100)
    for number in range(1000):
        window.add(b"%d" % number, 1)
        window.add(b"%d" % number, 1)
    assert len(window) <= 125


@given(events=EVENTS)
def test_a_window_goes_on_where_its_state_was_written(
    events: list[tuple[bytes, int, int]],
) -> None:
    for kind in (Window, DistinctWindow):
        one = kind(3, 20, capacity=2)
        for number, (key, moment, value) in enumerate(events):
            more = () if kind is Window else (value,)
            if number == len(events) // 2:
                other = kind(3, 20, capacity=2)
                other.restore(json.loads(json.dumps(one.state())))
                assert other.state() == one.state()
                one = other
            one.add(key, moment, *more)


def test_what_is_past_the_window_is_forgotten() -> None:
    window = Window(3, 10, capacity=100)
    window.add(b"once", 0)
    window.add(b"twice", 0)
    window.add(b"twice", 1)
    window.expire(50)
    assert (len(window), window.forgotten) == (0, 0)
