"""A store that goes wrong while it is written: nothing false is ever brought back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.backup import wal_chain
from agent.backup.wal import listing, names
from agent.backup.wal.marks import Mark, Marks
from agent.backup.wal.place import Place
from agent.backup.wal.push import Shipper
from agent.errors import Art32Error
from tests.faults.store import HANGING, PUT_HARMLESS, Fault, FaultStore
from tests.fixtures.daemons import ROOT
from tests.fixtures.waiting import until
from tests.fixtures.wal import SEGMENT_BYTES, SYSTEM, segment
from tests.fixtures.wal_service import World
from tests.unit.backup.test_wal_chain import base


@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_what_the_store_has_spoilt_stops_a_recovery(world: World, kind: str) -> None:
    waiting = world.written(3, 4, 5)
    world.store = FaultStore(world.archive, Fault(kind, 2))
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
        assert [world.fetch(name) for name in waiting] == [0, 200, 0]


def test_what_the_store_has_dropped_is_a_hole_for_a_recovery_and_for_the_keeper(
    world: World,
) -> None:
    waiting = world.written(3, 4, 5)
    world.store = FaultStore(world.archive, Fault("drop", 2))
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
        assert [world.fetch(name) for name in waiting] == [0, 200, 0]
    entries = list(listing.entries(world.archive))
    later = max(entry.stored_at for entry in entries) + timedelta(hours=1)
    small = replace(base(3), segment_bytes=SEGMENT_BYTES)
    (found,) = wal_chain.examine([small], entries, now=later).findings
    assert waiting[1] in found.problem


def test_the_last_segment_that_the_store_has_dropped_looks_like_the_end(world: World) -> None:
    """The limit of what can be known: docs/wal.md says so."""
    waiting = world.written(3, 4)
    world.store = FaultStore(world.archive, Fault("drop", 2))
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0]
        assert world.fetch(waiting[1]) == 1


@pytest.mark.parametrize("kind", PUT_HARMLESS)
def test_what_comes_twice_late_or_out_of_order_comes_back(world: World, kind: str) -> None:
    waiting = world.written(3, 4, 5)
    world.store = FaultStore(world.archive, Fault(kind, 2))
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
        assert [world.fetch(name) for name in waiting] == [0, 0, 0]


def test_a_store_that_hangs_acknowledges_nothing_and_holds_back_what_comes_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(world.directory))
    waiting = world.written(3, 4, 5)
    world.store = FaultStore(world.archive, Fault("hang", 2))
    asking = [sys.executable, "-S", "-m", "agent", "wal", "push"]
    environment = {"PYTHONPATH": str(ROOT), "ART32_WAL_SOCKET": str(world.address)}
    with world.serving():
        assert world.push(waiting[0]) == 0
        pending = [
            subprocess.Popen([*asking, f"pg_wal/{name}"], cwd=world.data, env=environment)
            for name in waiting[1:]
        ]
        try:
            until(Path(world.directory, HANGING).exists, "the store hangs")
            with pytest.raises(subprocess.TimeoutExpired):
                pending[1].wait(0.5)
            assert pending[0].poll() is None
            assert world.stored() == waiting[:1]
        finally:
            for child in pending:  # as PostgreSQL does when it is shut down
                os.kill(child.pid, signal.SIGTERM)
                child.wait()
    world.store = world.archive
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
    assert world.stored() == waiting


@pytest.mark.parametrize("size", [0, 4096, 1 << 19])
def test_a_full_disk_where_it_recovers_stops_the_server_and_leaves_nothing(
    world: World, size: int
) -> None:
    (name,) = world.written(3)
    with world.serving():
        assert world.push(name) == 0
        done = subprocess.run(
            [
                *("prlimit", f"--fsize={size}", sys.executable, "-S", "-m", "agent"),
                *("wal", "fetch", "--absent", "64", name, "pg_wal/RECOVERYXLOG"),
            ],
            cwd=world.data,
            env={"PYTHONPATH": str(ROOT), "ART32_WAL_SOCKET": str(world.address)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 200
    assert "`pg_wal/RECOVERYXLOG` cannot be written: file too large" in done.stderr
    assert not [one for one in os.listdir(world.data / "pg_wal") if "RECOVERY" in one]


def test_a_pg_wal_that_grows_faster_than_the_store_takes_is_shipped_in_order(
    world: World,
) -> None:
    """More waits than one call offers."""
    waiting = world.written(*range(3, 43))
    with world.serving():
        for name in waiting:
            assert world.push(name) == 0
            there = world.stored()
            assert there == waiting[: len(there)]
    assert world.stored() == waiting


def test_a_store_that_is_lost_while_a_server_recovers_proves_no_absence(world: World) -> None:
    """The disk that is not mounted any more, or the bucket: nothing may be taken for the end."""
    waiting = world.written(3, 4)
    store = world.directory / "store"
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0]
        assert world.fetch(waiting[0]) == 0
        until(lambda: len(list(store.rglob("*.pgp"))) == 2, "both are there")
        store.rename(world.directory / "gone")
        for name in (segment(5)[0], "00000002.history"):
            status, said = world.call("fetch", name, "pg_wal/RECOVERYXLOG")
            assert status == 200
            assert "is not there" in said
        (world.directory / "gone").rename(store)
        assert [world.fetch(waiting[1]), world.fetch(segment(5)[0])] == [0, 1]


class SlowMarks(Marks):
    """Marks on a slow disk: the first segment has failed when the second is looked for."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failed = threading.Event()

    def get(self, place: Place) -> Mark | None:
        if place.name.text == segment(4)[0]:
            self.failed.wait(0.5)
        return super().get(place)


@pytest.fixture
def shipper(world: World) -> Iterator[Shipper]:
    known = SlowMarks(world.directory / "marks")
    found = Shipper(
        world.keys,
        world.store,
        known,
        prefix=world.config.store.prefix,
        workers=3,
        report=lambda _, error: known.failed.set() if error else None,
    )
    yield found
    found.close()


def ship(world: World, shipper: Shipper, *numbers: int) -> None:
    """Ship the first of these segments, and offer the others."""
    with contextlib.ExitStack() as stack:
        offered = []
        for number in numbers:
            name = names.require(segment(number)[0])
            file = stack.enter_context((world.data / "pg_wal" / name.text).open("rb"))
            offered.append((Place("db1", SYSTEM, name), file.fileno()))
        shipper.ship(*offered[0], offered[1:])


def settled(world: World, shipper: Shipper) -> list[str]:
    """Return what is stored when nothing is under way any more."""
    until(lambda: not shipper._jobs, "nothing is under way")
    return world.stored()


def test_a_segment_that_fails_at_once_holds_back_all_that_is_offered_after_it(
    world: World, shipper: Shipper
) -> None:
    first, *later = world.written(*range(3, 8))
    world.write(first, b"rubbish")
    with pytest.raises(Art32Error, match=first):
        ship(world, shipper, *range(3, 8))
    assert settled(world, shipper) == []
    world.written(3)
    ship(world, shipper, *range(3, 8))
    assert settled(world, shipper) == [first, *later]


def test_a_segment_that_failed_holds_back_what_is_offered_until_it_is_stored_itself(
    world: World, shipper: Shipper
) -> None:
    waiting = world.written(*range(2, 8))
    world.write(waiting[1], b"rubbish")
    with pytest.raises(Art32Error):
        ship(world, shipper, 3)
    ship(world, shipper, 2, 5, 6)
    assert settled(world, shipper) == waiting[:1]
    world.written(3)
    ship(world, shipper, 3, 4, 5)
    assert settled(world, shipper) == waiting[:4]


def test_what_postgresql_itself_asks_for_is_shipped_after_one_that_it_has_given_up(
    world: World, shipper: Shipper
) -> None:
    waiting = world.written(3, 4, 5)
    world.write(waiting[0], b"rubbish")
    with pytest.raises(Art32Error):
        ship(world, shipper, 3, 4)
    assert settled(world, shipper) == []
    ship(world, shipper, 4, 5)
    assert settled(world, shipper) == waiting[1:]


def test_nothing_is_offered_after_a_file_that_cannot_be_opened(world: World) -> None:
    waiting = world.written(3, 4, 5)
    (world.data / "pg_wal" / waiting[1]).unlink()
    with world.serving():
        assert world.push(waiting[0]) == 0
    assert world.stored() == waiting[:1]
