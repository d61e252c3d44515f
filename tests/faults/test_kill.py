"""`kill -9` before every event by which a run touches the world, then everything is looked at.

The points are generated: a run is killed at its first event, another at its second, and so on until
a run comes to its end. Events are opened files, links, renames, directories, truncations, fsync,
writes, locks, started programs; the write of a ledger's line is also cut in half.
"""

from __future__ import annotations

import itertools
import os
import queue
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.backup import history, make
from agent.ledger import Ledger
from tests.faults.harness import CANARY, INTERPRETERS, SOURCE, Interpreters, Site, site
from tests.fixtures.keys import Keys

Points = Callable[[int], bool]
KILLED = -signal.SIGKILL
LAST_POINT = 2000
LONG_AGO = 946684800


def at_every_point(attempt: Points, *, first: int = 1, step: int = 1) -> int:
    """Call with 1, 2, 3 ... until a call says that its run was not killed; return the last.

    With `first` and `step` only some of the points are taken.
    """
    numbers = itertools.count(first, step)
    over = threading.Event()
    highest = 0

    def work() -> None:
        nonlocal highest
        while not over.is_set():
            number = next(numbers)
            assert number < LAST_POINT, "the run never comes to its end"
            highest = max(highest, number)
            try:
                if not attempt(number):
                    over.set()
            except BaseException as error:
                over.set()
                error.add_note(f"killed before event {number}")
                raise

    with ThreadPoolExecutor(INTERPRETERS) as pool:
        for done in [pool.submit(work) for _ in range(INTERPRETERS)]:
            done.result()
    return highest


class Known:
    """Tells whether a condition (`Site.condition`) was met before: what a next command makes of
    it has then been looked at already."""

    def __init__(self) -> None:
        self._met: set[object] = set()
        self._guard = threading.Lock()

    def __call__(self, condition: object) -> bool:
        with self._guard:
            known = condition in self._met
            self._met.add(condition)
            return known

    def __len__(self) -> int:
        return len(self._met)


def require_good(one: Site, count: int) -> None:
    verified = one.done("backup", "verify", "--tier", "decrypt").data
    assert [entry["good"] for entry in verified] == [True] * count


def require_nothing_planned(one: Site) -> None:
    outcome = one.run("backup", "prune")
    assert outcome.status in (0, 75), outcome
    assert {entry["action"] for entry in outcome.data["plan"]} == {"keep"}


def require_right_next_run(one: Site) -> int:
    """Fail unless a run works, finishes what the dead one kept, adds one backup, and the ledger
    knows them all, in an unbroken chain; return how many are complete then."""
    before = one.complete() | one.unsent()
    one.done("backup", "run")
    listed = one.done("backup", "list").document
    assert listed["warnings"] == []
    found = [entry for entry in listed["data"]["backups"] if entry["state"] == "complete"]
    complete = {entry["id"] for entry in found}
    assert before < complete
    assert len(complete) == len(before) + 1
    assert one.recorded() == complete
    assert one.unsent() == set()
    sequences = [entry["sequence"] for entry in found]
    assert sequences == sorted(set(sequences))
    one.require_no_process()
    one.require_no_home()
    return len(complete)


@pytest.mark.slow
def test_a_backup_killed_anywhere_is_absent_or_complete_and_the_next_run_is_right(
    keys: Keys, interpreters: Interpreters
) -> None:
    seen: Counter[str] = Counter()
    kept: list[bool] = []
    is_known = Known()

    def attempt(number: int) -> bool:
        with site(keys, interpreters) as one:
            one.copy_from(template)
            killed = one.run("backup", "run", strike_at=number)
            assert killed.status in (KILLED, 0), killed
            assert killed.stderr == ""
            one.require_no_process()
            assert one.places_of(CANARY) == []
            if is_known(one.condition()):
                return killed.status == KILLED
            states = ["complete"]
            if one.snapshot() != before:
                states = one.states()
                seen[" ".join(states)] += 1
                require_nothing_planned(one)
            complete = states.count("complete")
            assert complete in (1, 2)
            kept.append(bool(one.unsent()))
            complete = require_right_next_run(one)
            if len(states) > 1:
                require_good(one, complete)
            assert one.ledger().count("backup-run-finished") >= 2
            assert one.places_of(CANARY) == []
            return killed.status == KILLED

    with site(keys, interpreters) as template:
        template.done("backup", "run")
        before = template.snapshot()
        points = at_every_point(attempt)
    assert points > 60
    assert len(is_known) > 20
    assert set(seen) == {"complete", "complete absent", "complete complete"}
    assert sum(kept) > 2


@pytest.mark.slow
def test_a_restore_killed_anywhere_leaves_no_part_of_the_target(
    keys: Keys, interpreters: Interpreters
) -> None:
    there: list[bool] = []
    left: list[bool] = []
    results: Counter[str] = Counter()

    def attempt(number: int) -> bool:
        one = free.get()
        target = one.target.with_name(f"restored-{number}")
        killed = one.run("restore", SOURCE, "--to", str(target), strike_at=number)
        assert killed.status in (KILLED, 0), killed
        one.require_no_process()
        there.append(os.path.lexists(target))
        temporary = [name for name in os.listdir(target.parent) if name != target.name]
        assert one.left_by_restores() == [f"`{target.parent / name}`" for name in temporary]
        left.append(bool(temporary))
        if not there[-1]:
            one.done("restore", SOURCE, "--to", str(target))
            assert one.left_by_restores() == []
        assert target.read_bytes() == one.content.read_bytes()
        assert os.listdir(target.parent) == [target.name]
        one.require_no_home_of_the_dead()
        assert one.places_of(CANARY) == []
        assert one.ledger()
        target.unlink()
        free.put(one)
        return killed.status == KILLED

    with site(keys, interpreters) as first, site(keys, interpreters) as second:
        sites = (first, second)
        assert len(sites) == INTERPRETERS
        free: queue.SimpleQueue[Site] = queue.SimpleQueue()
        for one in sites:
            one.done("backup", "run")
            free.put(one)
        points = at_every_point(attempt)
        for one in sites:
            assert one.states() == ["complete"]
            one.done("restore", SOURCE, "--to", str(one.target))
            one.require_no_home()
            assert one.left_by_restores() == []
            assert list((one.repository.state / "restores").iterdir()) == []
            records = Ledger(one.repository.state / make.LEDGER).records()
            ends = [one.facts["result"] for one in records if one.event == history.RESTORED]
            results.update(ends)
    assert points > 30
    assert set(there) == {True, False}
    assert sum(left) > 3
    assert results[history.UNFINISHED] > 3
    assert set(results) == {"ok", history.UNFINISHED}


def delete_at_every_point(
    keys: Keys, interpreters: Interpreters, command: tuple[str, ...], *, more: str = ""
) -> None:
    """Kill a command that deletes the older of two backups, and say it again: the backup is
    complete, or absent and then gone, and the other one is whole."""
    seen: Counter[str] = Counter()
    is_known = Known()

    def attempt(number: int) -> bool:
        with site(keys, interpreters, more=more) as one:
            one.copy_from(template)
            killed = one.run(*words, strike_at=number)
            assert killed.status in (KILLED, 0), killed
            one.require_no_process()
            if is_known(one.condition()):
                return killed.status == KILLED
            snapshot = one.snapshot()
            states = before if snapshot == untouched else one.states()
            seen[" ".join(states)] += 1
            if snapshot != untouched:
                require_good(one, states.count("complete"))
            repeated = one.run(*words)
            assert repeated.status in (0, 10), repeated
            assert one.states() == ["complete"]
            assert len(one.store_files()) == files_of_one
            assert one.ledger()
            one.require_no_process()
            one.require_no_home()
            return killed.status == KILLED

    with site(keys, interpreters, more=more) as template:
        template.done("backup", "run")
        files_of_one = len(template.store_files())
        for path in template.repository.store.rglob("*"):
            os.utime(path, (LONG_AGO, LONG_AGO))
        oldest = template.backups()[0]["id"]
        template.done("backup", "run")
        words = tuple(word.replace("OLDEST", oldest) for word in command)
        before, untouched = template.states(), template.snapshot()
        assert at_every_point(attempt) > 20
    assert set(seen) == {"complete complete", "absent complete", "complete"}


@pytest.mark.slow
def test_a_deletion_killed_anywhere_can_be_finished_and_is_never_listed_as_complete(
    keys: Keys, interpreters: Interpreters
) -> None:
    command = ("backup", "delete", "OLDEST", "--apply", "--below-floor")
    delete_at_every_point(keys, interpreters, command)


@pytest.mark.slow
def test_a_pruning_killed_anywhere_can_be_finished_and_is_never_listed_as_complete(
    keys: Keys, interpreters: Interpreters
) -> None:
    policy = "[retention]\ndays = 1\nminimum_backups = 1"
    delete_at_every_point(keys, interpreters, ("backup", "prune", "--apply"), more=policy)
