"""Results that one run saves and another publishes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.errors import Art32Error, Code
from agent.health import saved
from agent.health.examine import Examined
from agent.health.result import Result, State


def found(minutes_ago: float = 0) -> Examined:
    results = (
        Result("disk:/", State.WARN, "is 85 % full", 85.0, "%", 92.0, "df", "disk-full"),
        Result("clock", State.OK, "is synchronised"),
    )
    at = (clock.now() - timedelta(minutes=minutes_ago)).replace(microsecond=0)
    return Examined(results, {"disk:/": "2026-11-23T03:15:00Z"}, at, ("a warning",))


def test_what_was_saved_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "health" / "results.json"
    before = found()
    saved.save(before, path)
    assert saved.load(path) == before
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("minutes_ago", [25, -5])
def test_results_that_are_old_or_of_the_future_are_a_failure(
    tmp_path: Path, minutes_ago: float
) -> None:
    path = tmp_path / "results.json"
    saved.save(found(minutes_ago), path)
    worst = saved.load(path).results[0]
    assert (worst.name, worst.state) == ("health", State.FAIL)
    assert f"{minutes_ago} minutes" in worst.detail


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b'{"schema": "other/1"}', b'{"schema": "art32.health.saved/1"}'],
)
def test_a_file_that_holds_no_results_is_one_clear_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Art32Error) as raised:
        saved.load(path)
    assert raised.value.code is Code.SOURCE_MISSING
    assert str(path) in raised.value.sentence


def test_a_state_that_nobody_knows_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    saved.save(found(), path)
    document = json.loads(path.read_text())
    document["results"][0]["state"] = "splendid"
    path.write_text(json.dumps(document))
    with pytest.raises(Art32Error):
        saved.load(path)
