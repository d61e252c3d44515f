"""Deleting: in the right order, recorded, the same the second time, and stopped by a lock."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent import clock
from agent.backup import catalog, history, identity, layout, prune
from agent.backup.catalog import Backup, State
from agent.backup.history import History
from agent.config.model import DirectoryStore, Retention
from agent.errors import Art32Error, Code
from agent.ledger import Ledger
from agent.store import Deletion, StoredObject
from agent.store.directory import Directory
from tests.fixtures.repository import MakeRepository
from tests.fixtures.simulation import BEGINNING, DAY, backup_id, simulated

HOST = "db1"

NAMES = (
    "00000-" + "ab" * 32 + ".pgp",
    layout.DETAILS,
    layout.KEY,
    layout.MANIFEST,
    layout.SIGNATURE,
)
COMMAND = '[[sources]]\nname = "app"\nkind = "command"\ncommand = ["printf", "some data"]'


class Locked(Directory):
    """A directory store in which some objects are locked, and that keeps the order of deletions."""

    def __init__(self, path: Path, locked: Sequence[str] = ()) -> None:
        super().__init__(DirectoryStore(kind="directory", path=path))
        self.locked = set(locked)
        self.order: list[str] = []

    def delete(self, name: str) -> Deletion:
        self.order.append(name.rpartition("/")[2])
        if self.order[-1] in self.locked:
            return Deletion.RETAINED
        return super().delete(name)


def stored(store: Locked) -> Backup:
    backup = simulated(1, BEGINNING)
    for name in NAMES:
        data = name.encode()
        store.put(backup.place.name(name), data, sha256=hashlib.sha256(data).hexdigest())
    return Backup(
        backup.place,
        State.COMPLETE,
        "",
        BEGINNING,
        0,
        tuple(StoredObject(backup.place.name(name), 1, BEGINNING) for name in NAMES),
        backup.manifest,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.jsonl")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def test_the_signature_goes_first_the_key_second_and_then_the_rest(
    root: Path, ledger: Ledger
) -> None:
    store = Locked(root)
    done = prune.delete(store, ledger, stored(store), reason="retention")
    assert store.order == [
        layout.SIGNATURE,
        layout.KEY,
        *sorted(set(NAMES) - {layout.SIGNATURE, layout.KEY}),
    ]
    assert (done.deleted, done.retained, done.shredded) == (len(NAMES), 0, True)
    assert list(store.list()) == []


def test_a_deletion_stands_in_the_ledger_before_and_after(root: Path, ledger: Ledger) -> None:
    store = Locked(root)
    prune.delete(store, ledger, stored(store), reason="request")
    started, finished = ledger.records()
    assert started.event == "backup-deletion-started"
    assert finished.event == history.DELETED
    assert finished.facts["reason"] == "request"
    assert history.read(ledger.records()).deleted == {backup_id(1)}


def test_a_locked_signature_leaves_the_backup_whole(root: Path, ledger: Ledger) -> None:
    store = Locked(root, [layout.SIGNATURE])
    done = prune.delete(store, ledger, stored(store), reason="retention")
    assert (done.deleted, done.retained, done.shredded) == (0, len(NAMES), False)
    assert len(list(store.list())) == len(NAMES)
    assert history.read(ledger.records()).deleted == set()


def test_a_locked_key_leaves_the_data(root: Path, ledger: Ledger) -> None:
    store = Locked(root, [layout.KEY])
    done = prune.delete(store, ledger, stored(store), reason="retention")
    assert (done.deleted, done.retained) == (1, len(NAMES) - 1)
    assert len(list(store.list())) == len(NAMES) - 1


def test_a_locked_segment_is_counted_and_the_rest_goes(root: Path, ledger: Ledger) -> None:
    store = Locked(root, [NAMES[0]])
    done = prune.delete(store, ledger, stored(store), reason="retention")
    assert (done.deleted, done.retained, done.shredded) == (len(NAMES) - 1, 1, False)
    assert [item.name.rpartition("/")[2] for item in store.list()] == [NAMES[0]]


def test_deleting_what_is_gone_already_is_harmless(root: Path, ledger: Ledger) -> None:
    store = Locked(root)
    backup = stored(store)
    prune.delete(store, ledger, backup, reason="retention")
    assert prune.delete(store, ledger, backup, reason="retention").shredded


def test_a_ledger_that_cannot_be_written_stops_the_deletion(root: Path, tmp_path: Path) -> None:
    store = Locked(root)
    backup = stored(store)
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(Art32Error):
        prune.delete(store, Ledger(tmp_path / "ledger.jsonl"), backup, reason="retention")
    assert store.order == []


@pytest.fixture
def beginning(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Stop the clock at the beginning of the simulation."""
    monkeypatch.setattr(clock, "now", lambda: BEGINNING)
    return BEGINNING


@pytest.mark.usefixtures("beginning")
def test_hosts_and_sources_are_planned_apart(root: Path) -> None:
    store = Locked(root)
    found = [
        simulated(100 * group + n, BEGINNING - n * DAY, host=host, source=source)
        for group, (host, source) in enumerate(
            [("db1", "app"), ("db1", "etc"), ("db2", "app"), ("db2", "etc")]
        )
        for n in range(10)
    ]
    policy = Retention(days=5, minimum_backups=1)
    local = History(last_result={"etc": "source-failed"})
    plans = prune.plan(found, policy, store, local, this_host=HOST)
    assert [(plan.host, plan.source) for plan in plans] == [
        ("db1", "app"),
        ("db1", "etc"),
        ("db2", "app"),
        ("db2", "etc"),
    ]
    assert [len(plan.deletions) for plan in plans] == [4, 0, 4, 4]


@pytest.mark.usefixtures("beginning")
def test_only_the_source_that_was_named_has_ended(root: Path) -> None:
    places = [("db1", "app"), ("db1", "etc"), ("db2", "app")]
    found = [
        simulated(100 * group + n, BEGINNING - (40 + n) * DAY, host=host, source=source)
        for group, (host, source) in enumerate(places)
        for n in range(3)
    ]
    policy = Retention(days=30, minimum_backups=7)
    plans = prune.plan(
        found, policy, Locked(root), History(), this_host=HOST, retired={("db1", "app")}
    )
    assert [len(plan.deletions) for plan in plans] == [3, 0, 0]


@pytest.mark.usefixtures("beginning")
def test_a_host_cannot_accept_the_backups_of_another(root: Path) -> None:
    store = Locked(root)
    policy = Retention(days=5, minimum_backups=2)
    old = [simulated(n, BEGINNING - (30 + n) * DAY) for n in range(2)]
    shrunk = [simulated(10 + n, BEGINNING - n * DAY, suspicious=True) for n in range(2)]
    word = (10, 11)
    stranger = simulated(20, BEGINNING, host="db2", accepted=word)
    own = simulated(20, BEGINNING - timedelta(hours=1), accepted=word)
    by_stranger = prune.plan([*old, *shrunk, stranger], policy, store, History(), this_host=HOST)
    assert not any(plan.deletions for plan in by_stranger)
    by_host = prune.plan([*old, *shrunk, own], policy, store, History(), this_host=HOST)
    assert sum(len(plan.deletions) for plan in by_host) == 2


def test_the_floor_is_kept_when_single_backups_are_deleted() -> None:
    found = [simulated(n, BEGINNING - n * DAY) for n in range(4)]
    found.append(simulated(9, BEGINNING, State.SUSPECT))
    policy = Retention(minimum_backups=3)
    prune.require_floor(found, found[3:4], policy, frozenset())
    prune.require_floor(found, found[4:], policy, frozenset())
    with pytest.raises(Art32Error) as caught:
        prune.require_floor(found, found[2:4], policy, frozenset())
    assert caught.value.code is Code.PRUNE_REFUSED


def test_parts_of_a_set_go_together_and_each_once() -> None:
    single = simulated(1, BEGINNING)
    parts = [simulated(10 + n, BEGINNING, part=(10, n, 3)) for n in (1, 2, 3)]
    other = [simulated(20 + n, BEGINNING, part=(20, n, 2)) for n in (1, 2)]
    junk = simulated(12, BEGINNING - DAY, State.ABSENT)
    found = [single, *parts, *other, junk]
    assert prune.whole_sets(found, [parts[1], parts[1], parts[2]]) == parts
    assert prune.whole_sets(found, [single, single]) == [single]
    assert prune.whole_sets(found, []) == []


def test_a_month_of_real_backups_is_pruned_to_the_window(
    make_repository: MakeRepository, ledger: Ledger
) -> None:
    site = make_repository(COMMAND)
    for _ in range(8):
        site.back_up("app")
    config = site.configuration()
    store = Directory(config.store)  # type: ignore[arg-type]
    for age, directory in enumerate(sorted(site.backup_directories("app"), key=_signed)[::-1]):
        moment = (clock.now() - age * DAY - timedelta(minutes=1)).timestamp()
        for path in directory.iterdir():
            os.utime(path, (moment, moment))
    with identity.reader(config) as reader:
        before = catalog.read(store, reader, "")
        assert [backup.state for backup in before] == [State.COMPLETE] * 8
        assert not any(backup.notes for backup in before)
        policy = Retention(days=3, minimum_backups=2)
        (plan,) = prune.plan(before, policy, store, History(), this_host=HOST)
        for unit in plan.deletions:
            for backup in unit.backups:
                assert prune.delete(store, ledger, backup, reason="retention").shredded
        after = catalog.read(store, reader, "")
    assert after == before[-3:]
    (again,) = prune.plan(after, policy, store, History(), this_host=HOST)
    assert again.deletions == ()


def _signed(directory: Path) -> int:
    return (directory / layout.SIGNATURE).stat().st_mtime_ns
