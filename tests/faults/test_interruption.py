"""SIGTERM and SIGINT at every moment, two runs at once, disks that are full, read-only or gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from agent.backup import history, make
from agent.errors import ExitStatus
from agent.ledger import Ledger
from tests.faults.harness import (
    CANARY,
    SOURCE,
    Interpreters,
    Outcome,
    Site,
    command_source,
    site,
)
from tests.faults.test_kill import Known, at_every_point
from tests.faults.test_store_faults import require_clean
from tests.fixtures.keys import Keys
from tests.fixtures.waiting import until


def stopped(outcome: Outcome) -> bool:
    """Whether a run said that a signal ended it; fail when it said anything odd."""
    require_clean(outcome)
    assert outcome.status in (ExitStatus.OK, ExitStatus.INTERRUPTED), outcome
    if outcome.status == ExitStatus.INTERRUPTED:
        assert outcome.error["code"] == "interrupted"
    return outcome.status == ExitStatus.INTERRUPTED


@pytest.mark.slow
def test_a_backup_stopped_anywhere_ends_cleanly(keys: Keys, interpreters: Interpreters) -> None:
    """Only after the signature, where there is nothing left to stop, is the backup complete.

    One handler takes both signals: they alternate.
    """
    seen: Counter[str] = Counter()
    is_known = Known()

    def attempt(point: int) -> bool:
        with site(keys, interpreters) as one:
            number = (signal.SIGTERM, signal.SIGINT)[point % 2]
            outcome = one.run("backup", "run", strike_at=point, signal=number)
            interrupted = stopped(outcome)
            one.require_no_process()
            one.require_no_home()
            assert one.places_of(CANARY) == []
            if is_known((interrupted, one.condition())):
                return len(outcome.report) >= point
            states = one.states()
            seen[" ".join([*states, "stopped" if interrupted else "done"])] += 1
            if not interrupted:
                assert states == ["complete"]
            events = one.ledger()
            if states == ["complete"]:  # between the two the ledger has only the intent
                assert "backup-signing" in events
            if "backup-complete" in events:
                assert states == ["complete"]
            if events.count("backup-run-started") > events.count("backup-run-finished"):
                known = history.read(Ledger(one.repository.state / make.LEDGER).records())
                assert known.last_result == {SOURCE: history.UNFINISHED}  # and prune refuses
            return len(outcome.report) >= point

    assert at_every_point(attempt) > 60
    assert {"stopped", "absent stopped", "complete done"} <= set(seen)


@pytest.mark.slow
def test_a_restore_stopped_anywhere_leaves_nothing(keys: Keys, interpreters: Interpreters) -> None:
    with site(keys, interpreters) as template:
        template.done("backup", "run")

        def attempt(point: int) -> bool:
            with site(keys, interpreters) as one:
                one.copy_from(template)
                command = ("restore", SOURCE, "--to", str(one.target))
                outcome = one.run(*command, strike_at=point, signal=signal.SIGTERM)
                interrupted = stopped(outcome)
                left = os.listdir(one.target.parent)
                assert left in ([], [one.target.name])
                assert interrupted or left
                if left:
                    assert one.target.read_bytes() == template.content.read_bytes()
                one.require_no_process()
                one.require_no_home()
                assert one.places_of(CANARY) == []
                return len(outcome.report) >= point

        assert at_every_point(attempt) > 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_dump_that_never_ends_is_ended_by_a_signal_with_all_its_children(
    keys: Keys, interpreters: Interpreters, number: int
) -> None:
    endless = command_source("sh", "-c", "while :; do echo Canary; sleep 0.05; done")
    with site(keys, interpreters, sources=endless) as one:
        with one.start("backup", "run") as running:
            until(lambda: "sleep" in one.processes(), "the dump runs")
            running.send(number)
            assert stopped(running.wait())
        one.require_no_process()
        one.require_no_home()
        assert "complete" not in one.states()


def test_of_two_runs_of_a_source_one_works_and_the_other_is_told_so(
    keys: Keys, interpreters: Interpreters
) -> None:
    with site(keys, interpreters) as place:
        gate = place.directory / "gate"
        os.mkfifo(gate)
        section = command_source("sh", "-c", f"cat {gate} {place.content}")
        text = place.repository.config_file.read_text()
        head, _, _ = text.partition("[[sources]]")
        place.repository.config_file.write_text(head + section + "\n")
        with place.start("backup", "run") as first:
            until(lambda: "cat" in place.processes(), "the first run waits")
            second = place.run("backup", "run")
            require_clean(second)
            assert second.status == ExitStatus.LOCKED
            gate.write_bytes(b"go")
            assert first.wait().status == ExitStatus.OK
        place.done("backup", "list")
        assert place.states() == ["complete"]
        assert place.ledger().count("backup-run-started") == 1


def require_failed(one: Site, outcome: Outcome, status: ExitStatus) -> None:
    require_clean(outcome)
    assert outcome.status == status, outcome
    one.require_no_process()
    one.require_no_home()


def test_a_store_that_vanishes_in_the_middle_fails_the_run(
    keys: Keys, interpreters: Interpreters
) -> None:
    with site(keys, interpreters) as one:
        gone = threading.Event()

        def unmount() -> None:
            until(lambda: list(one.repository.store.rglob("key.pgp")), "the backup begins")
            one.repository.store.rename(one.directory / "unmounted")
            gone.set()

        section = command_source(
            "sh",
            "-c",
            f"while [ -d {one.repository.store} ]; do sleep 0.02; done; cat {one.content}",
        )
        head, _, _ = one.repository.config_file.read_text().partition("[[sources]]")
        one.repository.config_file.write_text(head + section + "\n")
        thread = threading.Thread(target=unmount)
        thread.start()
        outcome = one.run("backup", "run")
        thread.join()
        assert gone.is_set()
        require_failed(one, outcome, ExitStatus.STORE)
        assert not one.repository.store.exists(), "a disk that is not mounted must not be filled"
        (one.directory / "unmounted").rename(one.repository.store)
        assert one.states() == ["absent"]


def test_a_store_that_is_not_there_fails_at_once(keys: Keys, interpreters: Interpreters) -> None:
    with site(keys, interpreters) as one:
        one.repository.store.rmdir()
        require_failed(one, one.run("backup", "run"), ExitStatus.STORE)
        for command in (("backup", "list"), ("backup", "verify"), ("backup", "prune")):
            require_failed(one, one.run(*command), ExitStatus.STORE)


NAMESPACE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user")))


def can_mount() -> str | None:
    """Return why a file system cannot be mounted for these tests alone, None when it can."""
    if shutil.which("unshare") is None:
        return "there is no `unshare`"
    done = subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    return None if done.returncode == 0 else done.stderr.decode().strip()


@pytest.fixture
def small_disk(
    keys: Keys, interpreters: Interpreters, request: pytest.FixtureRequest
) -> Iterator[tuple[Site, str]]:
    """A site whose store or state directory is a tiny or read-only file system of its own."""
    if (reason := can_mount()) is not None:
        pytest.skip(f"no file system can be mounted here: {reason}")
    which, options = request.param
    with site(keys, interpreters) as one:
        place = one.repository.store if which == "store" else one.repository.state
        place.mkdir(exist_ok=True)
        script = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"'
        prefix = (*NAMESPACE, "sh", "-c", script, "sh", options, str(place))
        inside = Interpreters(1, prefix)
        try:
            yield Site(one.repository, inside, one.content), which
        finally:
            inside.close()


@pytest.mark.parametrize(
    "small_disk",
    [("store", "size=12k"), ("store", "size=28k"), ("store", "ro"), ("state", "size=4k")],
    indirect=True,
    ids=["full at once", "full in the middle", "read-only", "state directory full"],
)
def test_a_full_or_read_only_disk_fails_the_run_with_one_sentence(
    small_disk: tuple[Site, str],
) -> None:
    one, which = small_disk
    outcome = one.run("backup", "run")
    for _attempt in range(8):  # the ledger takes a few runs to fill its page
        if outcome.status != 0:
            break
        outcome = one.run("backup", "run")
    require_clean(outcome)
    assert outcome.status in (ExitStatus.STORE, ExitStatus.PERMISSION), outcome
    one.require_no_process()
    one.require_no_home()
    said = outcome.stdout + outcome.stderr
    words = ("no room", "cannot be written", "cannot be kept", "read-only", "refuses")
    assert any(word in said for word in words)
    listed = one.run("backup", "list")
    assert listed.status == 0, listed
    states = {backup["state"] for backup in listed.data["backups"]}
    assert states <= ({"absent"} if which == "store" else {"absent", "complete"})
