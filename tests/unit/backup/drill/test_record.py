"""What is overdue: sources without a drill that did well in time, keys whose holder is silent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup.drill import record
from agent.config.model import Configuration
from agent.ledger import Record

NOW = clock.parse_iso("2026-11-24T12:00:00Z")
OPERATIONS, ESCROW = "A" * 40, "B" * 40


def configuration(tmp_path: Path) -> Configuration:
    recipients = [
        {"name": name, "fingerprint": fingerprint, "key_file": str(tmp_path / name)}
        for name, fingerprint in (("operations", OPERATIONS), ("escrow", ESCROW))
    ]
    return Configuration.model_validate(
        {
            "host": "restorer",
            "store": {"kind": "directory", "path": str(tmp_path)},
            "encryption": {"recipients": recipients},
            "drill": {
                "within_hours": 24,
                "key_within_days": 100,
                "checks": [{"host": "db1", "source": "app"}],
            },
        }
    )


def drilled(hours_ago: float, result: str, *, source: str = "app", **more: object) -> Record:
    facts = {"id": "0" * 16, "host": "db1", "source": source, "result": result, "seconds": 1.0}
    facts |= more
    return Record(1, clock.iso(NOW - timedelta(hours=hours_ago)), record.DRILLED, facts)


@pytest.mark.parametrize(
    ("drills", "overdue"),
    [
        ([], True),
        ([(1.0, "ok")], False),
        ([(25.0, "ok")], True),
        ([(2.0, "ok"), (1.0, "drill-failed")], True),
        ([(2.0, "corrupt"), (1.0, "ok")], False),
        ([(30.0, "ok"), (1.0, "interrupted")], True),
        ([(-2.0, "ok")], True),  # a clock was wrong: it would never be overdue
        ([(-2.0, "ok"), (1.0, "ok")], True),
    ],
)
def test_a_source_is_overdue_without_a_good_drill_in_time_and_after_a_bad_one(
    tmp_path: Path, drills: list[tuple[float, str]], overdue: bool
) -> None:
    records = [drilled(hours, result) for hours, result in drills]
    (standing,) = record.standings(configuration(tmp_path), records, NOW)
    assert (standing.name, standing.overdue) == ("db1/app", overdue)


def test_a_source_that_is_not_configured_counts_once_it_was_drilled(tmp_path: Path) -> None:
    found = record.standings(configuration(tmp_path), [drilled(1, "ok", source="uploads")], NOW)
    assert [(one.name, one.overdue) for one in found] == [("db1/app", True), ("db1/uploads", False)]


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        (["ok", "ok", "ok"], "ok"),
        (["drill-failed", "ok", "ok"], "drill-failed"),
        (["ok", "ok"], "unfinished"),  # killed before the last part
    ],
)
def test_a_set_did_well_when_all_its_parts_did(tmp_path: Path, parts: list[str], word: str) -> None:
    earlier = drilled(3, "ok", campaign="1", parts=1)
    records = [drilled(1, result, campaign="2", parts=3) for result in parts]
    (standing,) = record.standings(configuration(tmp_path), [earlier, *records], NOW)
    assert (standing.overdue, standing.last_result) == (word != "ok", word)


def test_a_source_that_has_ended_is_waited_for_no_longer(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    retired = config.retention.model_copy(update={"retired": ("db1/app", "db1/old")})
    config = config.model_copy(update={"retention": retired})
    found = record.standings(config, [drilled(999, "ok", source="old"), drilled(1, "ok")], NOW)
    assert found == []


def test_a_place_in_the_log_is_a_number() -> None:
    assert record.position("16/B374D848") == 0x16B374D848
    assert record.position("1/0") < record.position("2/0")  # type: ignore[operator]
    assert [record.position(one) for one in (None, "", "x/y", "1/2/3")] == [None] * 4


def answered(days_ago: float, fingerprint: str, result: str) -> Record:
    facts = {"challenge": "1", "recipient": "x", "fingerprint": fingerprint, "result": result}
    return Record(1, clock.iso(NOW - timedelta(days=days_ago)), record.ANSWERED, facts)


def test_a_wrong_answer_after_a_right_one_makes_a_key_overdue(tmp_path: Path) -> None:
    records = [answered(2, OPERATIONS, "ok"), answered(1, OPERATIONS, "drill-failed")]
    found = record.key_standings(configuration(tmp_path), records, NOW)
    assert [(one.name, one.overdue) for one in found] == [
        ("key operations", True),
        ("key escrow", True),
    ]


def test_a_key_is_overdue_until_its_own_holder_has_given_a_right_answer(tmp_path: Path) -> None:
    records = [
        answered(10, OPERATIONS, "drill-failed"),
        answered(120, ESCROW, "ok"),
        answered(1, "C" * 40, "ok"),
    ]
    found = record.key_standings(configuration(tmp_path), records, NOW)
    assert [(one.name, one.overdue, one.last_result) for one in found] == [
        ("key operations", True, "wrong answer"),
        ("key escrow", True, "ok"),
    ]
    found = record.key_standings(configuration(tmp_path), [answered(99, ESCROW, "ok")], NOW)
    assert [one.overdue for one in found] == [True, False]
