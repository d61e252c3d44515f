"""When a call is repeated, and after how long."""

from __future__ import annotations

import pytest

from agent import clock
from agent.errors import Art32Error, Code
from agent.store import retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    return waited


ERROR = Art32Error(Code.STORE_FAILED, "the store failed")


def test_pauses_double_up_to_a_limit_and_differ_between_hosts() -> None:
    for attempt, longest in ((1, 0.5), (2, 1), (3, 2), (7, 30), (50, 30)):
        found = {retry.pause(attempt, None) for _ in range(20)}
        assert all(longest / 2 <= pause <= longest for pause in found)
        assert len(found) > 1


def test_what_a_server_asks_for_counts_up_to_five_minutes() -> None:
    assert retry.pause(1, 20) == 20
    assert retry.pause(1, 1e9) == 300
    assert retry.pause(7, 1) >= 15


def test_an_action_learns_that_it_may_have_been_done_already(pauses: list[float]) -> None:
    told: list[bool] = []
    troubles = [
        retry.Trouble(ERROR, retryable=True),
        retry.Trouble(ERROR, retryable=True, ambiguous=True),
        retry.Trouble(ERROR, retryable=True),
    ]

    def action(done_perhaps: bool) -> str:
        told.append(done_perhaps)
        if troubles:
            raise OSError
        return "done"

    assert retry.call(action, attempts=9, classify=lambda _: troubles.pop(0)) == "done"
    assert told == [False, False, True, True]


def test_a_defect_is_not_hidden_by_a_retry(pauses: list[float]) -> None:
    def classify(failure: Exception) -> retry.Trouble:
        raise failure

    def action(_: bool) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry.call(action, attempts=3, classify=classify)
    assert pauses == []
