"""Records of drills that were made elsewhere: taken once, and only when they can be true."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup import make
from agent.backup.drill import record, take
from agent.errors import Art32Error, Code
from tests.fixtures.repository import MakeRepository, Repository, text


@pytest.fixture
def site(make_repository: MakeRepository, tmp_path: Path) -> Repository:
    data = tmp_path / "data"
    data.write_text("x")
    source = f'name = "files"\nkind = "command"\ncommand = ["cat", {text(data)}]'
    return make_repository(f"[[sources]]\n{source}")


def facts(site: Repository, **more: object) -> dict[str, object]:
    made = site.back_up("files")[0]
    moment = clock.iso(clock.now())
    return {
        "run": "0123456789abcdef",
        "campaign": "fedcba9876543210",
        "parts": 1,
        "id": made.id,
        "host": "db1",
        "source": "files",
        "kind": "command",
        "finished": moment,
        "stored_at": moment,
        "result": "ok",
        "checks": 2,
        "failed": 0,
        "unknown": 0,
        "plain_bytes": 1,
        "seconds": 1.5,
        "loss_seconds": None,
        "system_identifier": None,
        "snapshot_lsn": None,
        "engine_seconds": 0.5,
        **more,
    }


def printed(*records: dict[str, object]) -> str:
    return "\n".join(["db1/files: passed", *(f"record: {json.dumps(one)}" for one in records)])


def test_a_record_is_taken_once_and_counts_here(site: Repository) -> None:
    config, given = site.configuration(), facts(site)
    # pasted from a session: what stands around it does not matter
    assert [one.known for one in take.take(config, f"$ art32 ...\n> {printed(given)}\n")] == [False]
    assert [one.known for one in take.take(config, printed(given))] == [True]
    records = list(make.ledger_of(config).records())
    (mine,) = [one.facts for one in records if one.event == record.DRILLED]
    assert mine["taken"] is True
    (standing,) = record.standings(config, records, clock.now())
    assert (standing.name, standing.overdue) == ("db1/files", False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"result": "very well"}, "its result is no word of art32"),
        ({"result": "ok", "failed": 1}, "it did well and failed"),
        ({"id": ""}, "it did well and failed"),
        ({"finished": clock.iso(clock.now() + timedelta(days=30))}, "its time is to come"),
        ({"rows": "anna"}, "Extra inputs are not permitted"),
        ({"host": "../etc"}, "host: "),
        ({"seconds": -1}, "seconds: "),
    ],
)
def test_what_cannot_be_true_is_refused_and_nothing_is_recorded(
    site: Repository, change: dict[str, object], said: str
) -> None:
    config = site.configuration()
    with pytest.raises(Art32Error, match=said) as caught:
        take.take(config, printed(facts(site), facts(site, run="1" * 16, **change)))
    assert caught.value.code is Code.USAGE
    assert "line 3" in caught.value.sentence
    events = [one.event for one in make.ledger_of(config).records()]
    assert record.DRILLED not in events


@pytest.mark.parametrize("given", ["", "db1/files: passed", 'record: {"run": "01'])
def test_no_record_or_half_of_one_is_said(site: Repository, given: str) -> None:
    with pytest.raises(Art32Error, match="record of a drill"):
        take.take(site.configuration(), given)


def test_a_backup_that_is_not_there_was_not_restored(site: Repository) -> None:
    with pytest.raises(Art32Error, match="no complete backup") as caught:
        take.take(site.configuration(), printed(facts(site, id="0" * 16)))
    assert caught.value.code is Code.NO_BACKUP


def test_a_drill_that_failed_needs_no_backup(site: Repository) -> None:
    config = site.configuration()
    take.take(config, printed(facts(site, id="", result="no-backup", stored_at=None)))
    (standing,) = record.standings(config, list(make.ledger_of(config).records()), clock.now())
    assert (standing.overdue, standing.last_result) == (True, "no-backup")
