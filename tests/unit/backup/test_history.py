"""What a host remembers of its own backups."""

from __future__ import annotations

from typing import Any

import pytest

from agent.backup import history
from agent.errors import Art32Error, Code
from agent.ledger import GENESIS, Record


def record(event: str, **facts: Any) -> Record:
    return Record(1, "2026-11-23T03:15:00Z", event, facts)


def complete(backup_id: str, size: int, **more: Any) -> Record:
    facts = {"source": "app", "path": "p", "plain_bytes": size, "stored_bytes": 1, "member": None}
    return record(history.COMPLETE, **{**facts, "id": backup_id, **more})


def test_an_empty_ledger_is_a_beginning() -> None:
    found = history.read([])
    assert (found.sequence, found.previous) == (0, GENESIS)
    assert found.baseline("app", None) is None


def test_sequences_count_for_one_signing_key_alone() -> None:
    records = [
        record(history.SIGNING, signer="A", sequence=1, manifest="one"),
        record(history.SIGNING, signer="A", sequence=2, manifest="two"),
        record(history.SIGNING, signer="B", sequence=1, manifest="three"),
    ]
    for signer, sequence, previous in (("A", 2, "two"), ("B", 1, "three"), ("C", 0, GENESIS)):
        found = history.read(records, signer)
        assert (found.sequence, found.previous) == (sequence, previous)
    assert history.read(records).sequence == 0


def test_a_backup_that_was_signed_and_never_completed_takes_its_number_with_it() -> None:
    found = history.read([record(history.SIGNING, signer="A", sequence=5, manifest="five")], "A")
    assert (found.sequence, found.previous, found.backups) == (5, "five", [])


def test_the_baseline_is_the_last_good_one_of_the_same_member() -> None:
    records = [
        complete("a", 100),
        complete("b", 200, member="m"),
        complete("c", 300, source="other"),
        complete("d", 4, suspicious=True),
    ]
    found = history.read(records)
    baseline = found.baseline("app", None)
    assert baseline is not None
    assert baseline.id == "a"
    accepted = history.read([*records, record(history.ACCEPTED, id="d")]).baseline("app", None)
    assert accepted is not None
    assert accepted.id == "d"
    assert found.baseline("app", "n") is None


def test_the_last_result_of_each_source_counts() -> None:
    records = [
        record(history.RUN_FINISHED, source="app", result="ok"),
        record(history.RUN_FINISHED, source="app", result="source-failed"),
        record(history.RUN_FINISHED, source="etc", result="ok"),
    ]
    assert history.read(records).last_result == {"app": "source-failed", "etc": "ok"}


def test_events_that_this_version_does_not_know_are_passed_over() -> None:
    assert history.read([record("drill-finished", source="app", seconds=5)]) == history.History()


@pytest.mark.parametrize(
    "broken",
    [
        record(history.COMPLETE, id="a"),
        complete("a", "many"),  # type: ignore[arg-type]
        complete("a", None),  # type: ignore[arg-type]
        record(history.SIGNING, signer=None),
        record(history.ACCEPTED),
        record(history.DELETED),
        record(history.RUN_FINISHED, source="app"),
    ],
    ids=lambda one: one.event,
)
def test_a_record_that_lacks_something_is_a_broken_ledger_and_no_traceback(broken: Record) -> None:
    with pytest.raises(Art32Error) as caught:
        history.read([broken])
    assert caught.value.code is Code.LEDGER_BROKEN
