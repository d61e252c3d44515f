"""Which backup a restore takes, and what it says of the ones that it passes over."""

from __future__ import annotations

import pytest

from agent.backup import restore
from agent.backup.catalog import Backup, State
from agent.errors import Art32Error, Code
from tests.fixtures.simulation import BEGINNING, DAY, backup_id, simulated


def chosen(backups: list[Backup], **how: object) -> list[str]:
    found = restore.choose(backups, source="app", host="db1", **how)  # type: ignore[arg-type]
    return [backup.id for backup in found]


@pytest.fixture
def week() -> list[Backup]:
    return [simulated(number, BEGINNING + number * DAY) for number in range(7)]


def test_the_newest_complete_one_is_taken(week: list[Backup]) -> None:
    assert chosen(week) == [backup_id(6)]
    assert restore.doubts(week, week[-1:]) == []


def test_a_moment_takes_the_newest_one_stored_by_then(week: list[Backup]) -> None:
    assert chosen(week, at=BEGINNING + 3 * DAY) == [backup_id(3)]
    with pytest.raises(Art32Error) as refused:
        chosen(week, at=BEGINNING - DAY)
    assert refused.value.code is Code.NO_BACKUP


@pytest.mark.parametrize("state", [State.ABSENT, State.SUSPECT, State.PENDING])
def test_a_newer_one_that_is_not_whole_is_passed_over_and_named(
    week: list[Backup], state: State
) -> None:
    later = [*week, simulated(7, BEGINNING + 7 * DAY, state)]
    assert chosen(later) == [backup_id(6)]
    (doubt,) = restore.doubts(later, week[-1:])
    assert backup_id(7) in doubt
    assert state.value in doubt
    assert restore.doubts(later, week[-1:], at=BEGINNING + 6 * DAY) == []


def test_an_older_one_that_is_not_whole_is_no_doubt(week: list[Backup]) -> None:
    earlier = [simulated(9, BEGINNING - DAY, State.SUSPECT), *week]
    assert restore.doubts(earlier, week[-1:]) == []


def test_a_newer_one_that_is_flagged_is_passed_over_until_a_person_accepts_it(
    week: list[Backup],
) -> None:
    shrunk = simulated(7, BEGINNING + 7 * DAY, suspicious=True)
    assert chosen([*week, shrunk]) == [backup_id(6)]
    (doubt,) = restore.doubts([*week, shrunk], week[-1:])
    assert backup_id(7) in doubt
    assert chosen([*week, shrunk], accepted=frozenset({backup_id(7)})) == [backup_id(7)]


def test_a_flagged_one_is_better_than_nothing() -> None:
    shrunk = simulated(7, BEGINNING, suspicious=True)
    assert chosen([shrunk]) == [backup_id(7)]
    (doubt,) = restore.doubts([shrunk], [shrunk])
    assert "flagged" in doubt


def test_an_id_of_one_that_is_not_complete_is_refused(week: list[Backup]) -> None:
    broken = simulated(7, BEGINNING, State.SUSPECT)
    with pytest.raises(Art32Error) as refused:
        chosen([*week, broken], wanted=backup_id(7))
    assert refused.value.code is Code.SUSPECT
