from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from agent import parallel


def test_results_come_in_the_order_of_the_items() -> None:
    first = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first.wait(60)
        else:
            first.set()
        return number * number

    assert list(parallel.ordered(work, range(20), workers=3)) == [n * n for n in range(20)]


def test_no_items_are_no_results() -> None:
    assert list(parallel.ordered(str, [], workers=3)) == []


def test_the_first_failure_in_order_is_raised_after_what_came_before_it() -> None:
    results = parallel.ordered(lambda n: 6 // n, [1, 2, 0, 3], workers=2)
    assert [next(results), next(results)] == [6, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_are_taken_only_a_little_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with contextlib.closing(parallel.ordered(str, items(), workers=2)) as results:
        assert next(results) == "0"
        assert len(taken) == 3


def test_work_that_hangs_holds_nobody_up_who_stops_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "GRACE_SECONDS", 0.01)
    never = threading.Event()

    def work(number: int) -> int:
        if number:
            never.wait()
        return number

    with contextlib.closing(parallel.ordered(work, range(9), workers=2)) as results:
        assert next(results) == 0
    never.set()
