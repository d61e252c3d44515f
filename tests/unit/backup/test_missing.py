"""Gaps in what a host signed: when they are told, and what excuses them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent import clock
from agent.backup import missing
from agent.backup.catalog import Backup, State
from agent.config.model import Retention
from agent.ledger import Record
from tests.fixtures.simulation import BEGINNING, DAY, SIGNER, backup_id, simulated

NOW = BEGINNING + 10 * DAY
AFTER = missing.since(Retention(days=30), NOW)


def stored(*numbers: int, host: str = "db1") -> list[Backup]:
    return [simulated(number, BEGINNING + number * DAY, host=host) for number in numbers]


def counts(backups: list[Backup], *records: Record) -> list[int]:
    return [count for _, _, count in missing.gaps(backups, records, after=AFTER)]


def record(event: str, **facts: object) -> Record:
    return Record(1, clock.iso(NOW), event, dict(facts))


def test_a_whole_sequence_has_no_gap_wherever_it_begins_and_ends() -> None:
    assert counts(stored(1, 2, 3)) == []
    assert counts(stored(5)) == counts([]) == []


def test_each_gap_is_told_with_its_neighbours() -> None:
    backups = stored(1, 3, 4, 7)
    assert counts(backups) == [1, 2]
    first, second = missing.gap_notes(backups, [], after=AFTER)
    assert backup_id(1) in first
    assert backup_id(3) in first
    assert "2 of the backups" in second


def test_the_sequences_of_two_hosts_do_not_fill_each_others_gaps() -> None:
    assert counts([*stored(1, 3), *stored(2, host="db2")]) == [1]


@pytest.mark.parametrize("age", [29, 31])
def test_a_gap_beside_what_may_be_pruned_is_none(age: int) -> None:
    old = simulated(1, NOW - timedelta(days=age))
    assert counts([old, *stored(3)]) == ([1] if age < 30 else [])


@pytest.mark.parametrize("state", [State.SUSPECT, State.PENDING])
def test_a_backup_whose_number_cannot_be_read_may_fill_a_gap(state: State) -> None:
    unread = simulated(2, BEGINNING, state)
    assert counts([*stored(1, 3), unread]) == []
    assert counts([*stored(1, 4), unread]) == [2]


def test_an_absent_backup_fills_no_gap() -> None:
    assert counts([*stored(1, 3), simulated(2, BEGINNING, State.ABSENT)]) == [1]


def test_a_number_that_this_machine_spent_is_for_its_ledger_to_tell() -> None:
    spent = record("backup-signing", signer=SIGNER, sequence=3)  # simulated 2 has sequence 3
    assert counts(stored(1, 3), spent) == []
    assert counts(stored(1, 3), record("backup-signing", signer="B" * 40, sequence=3)) == [1]


@pytest.mark.parametrize(("reason", "gap"), [("request", []), ("retention", [1])])
def test_only_a_persons_deletion_excuses_a_gap(reason: str, gap: list[int]) -> None:
    deleted = record(missing.DELETION_STARTED, id=backup_id(2), source="app", reason=reason)
    assert counts(stored(1, 3), deleted) == gap
