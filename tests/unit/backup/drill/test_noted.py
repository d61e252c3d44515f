"""What a drill is noted as in the store, for whoever was not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.backup.drill import noted
from agent.config.model import Configuration
from agent.output import Answer
from agent.store import open_store


@pytest.mark.parametrize(
    ("parts", "passed", "noted_as_good"),
    [(2, (True, True), True), (2, (False, True), False), (3, (True, True), False)],
)
def test_a_set_is_noted_as_good_when_all_its_parts_are_there_and_did_well(
    tmp_path: Path, parts: int, passed: tuple[bool, ...], noted_as_good: bool
) -> None:
    config = Configuration.model_validate(
        {"host": "restorer", "store": {"kind": "directory", "path": str(tmp_path)}}
    )
    rest = dict.fromkeys(("id", "stored_at", "seconds", "plain_bytes", "loss_seconds", "error"))
    data: list[dict[str, Any]] = [
        {**rest, "host": "db1", "source": "app", "passed": good, "record": {"parts": parts}}
        for good in passed
    ]
    noted.note(config, Answer("art32.drill/1", data, []))
    assert set(noted.last_passed(open_store(config.store), "db1")) == (
        {"app"} if noted_as_good else set()
    )
