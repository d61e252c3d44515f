"""A store that goes wrong at any of its calls, over a whole backup, restore, check and deletion.

What fails aloud makes the run fail. What lies while it is written to cannot be seen by a writer
that may not read; who finds it, and where `list` calls the backup good although it is not:

| object         | dropped         | truncated       | one bit flipped                       |
|----------------|-----------------|-----------------|---------------------------------------|
| key.pgp        | list: suspect   | list: suspect   | verify --tier hashes; **list: complete** |
| segment        | list: suspect   | list: suspect   | verify --tier hashes; **list: complete** |
| details.pgp    | list: suspect   | list: suspect   | verify --tier hashes; **list: complete** |
| SHA256SUMS     | list: suspect   | list: suspect   | verify --tier hashes; **list: complete** |
| manifest.json  | list: suspect   | list: suspect   | list: suspect                         |
| its signature  | list: absent    | list: suspect   | list: suspect                         |

The stores of art32 close the bold gap themselves: each proves the SHA-256 of what it stores.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.backup import catalog
from agent.errors import Code, ExitStatus
from tests.faults.harness import (
    INTERPRETERS,
    SOURCE,
    Interpreters,
    Outcome,
    Site,
    site,
)
from tests.faults.store import (
    HANGING,
    PUT_HARMLESS,
    PUT_REFUSALS,
    PUT_SILENT,
    READ_LIES,
    READ_REFUSALS,
    Fault,
)
from tests.fixtures.keys import Keys
from tests.fixtures.waiting import until

SENTENCE = re.compile(r"^[^A-Z\n][^\n]*[^.\n]$")
RESTORE_REFUSALS = {
    ExitStatus.NO_BACKUP,
    ExitStatus.STORE,
    ExitStatus.VERIFICATION,
    ExitStatus.PERMISSION,
}

UNREADABLE = {code.label for code in catalog.UNREADABLE}


def require_clean(outcome: Outcome) -> None:
    """Fail unless an outcome is a status of the table and, for an error, one sentence."""
    assert outcome.status in set(ExitStatus) - {ExitStatus.DEFECT}, outcome
    assert "Traceback" not in outcome.stderr
    if outcome.stderr:
        assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
        assert SENTENCE.match(outcome.error["error"]), outcome.error


def with_each(faults: list[Fault], check: Callable[[Fault], None]) -> None:
    """Check every fault, a few at once."""

    def one(fault: Fault) -> None:
        try:
            check(fault)
        except BaseException as error:
            error.add_note(f"{fault}")
            raise

    with ThreadPoolExecutor(INTERPRETERS) as pool:
        for _ in pool.map(one, faults):
            pass


@pytest.fixture(scope="module")
def full_site(keys: Keys, interpreters: Interpreters) -> Iterator[Site]:
    """A site with one good backup: to be read, never to be changed."""
    with site(keys, interpreters) as one:
        one.done("backup", "run")
        yield one


@pytest.fixture(scope="module")
def puts(keys: Keys, interpreters: Interpreters) -> int:
    """How many calls a backup makes; all of them write."""
    with site(keys, interpreters) as one:
        names = one.run("backup", "run", watch_store=True).report
        assert all(name.startswith("put ") for name in names)
        assert len(names) >= 8
        return len(names)


@pytest.mark.slow
def test_a_store_that_fails_at_any_write_leaves_no_complete_backup(
    keys: Keys, interpreters: Interpreters, puts: int
) -> None:
    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            outcome = one.run("backup", "run", fault=fault)
            require_clean(outcome)
            (entry,) = outcome.data
            code = next(code for code in Code if code.label == fault.kind)
            assert outcome.status == code.exit_status
            assert entry["error"]["code"] == fault.kind
            assert entry["backups"] == []
            assert "complete" not in one.states()
            one.require_no_process()
            one.require_no_home()
            assert one.ledger()[-1] == "backup-run-finished"

    calls = range(1, puts + 1)
    with_each([Fault(code.label, n) for code in PUT_REFUSALS for n in calls], check)


@pytest.mark.slow
def test_a_reply_lost_at_any_write_fails_the_run_and_the_next_one_is_right(
    keys: Keys, interpreters: Interpreters, puts: int
) -> None:
    """The signature is the exception: it was stored, so the backup is complete, and good."""

    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            outcome = one.run("backup", "run", fault=fault)
            require_clean(outcome)
            assert outcome.status == ExitStatus.STORE
            assert one.states() == ["complete" if fault.call == puts else "absent"]
            one.done("backup", "run")
            one.done("backup", "list")
            one.done("backup", "verify")

    with_each([Fault("lost-reply", n) for n in range(1, puts + 1)], check)


def found_by(one: Site) -> str:
    """Return which command is the first to say that a backup is not good."""
    (state,) = one.states()
    if state != "complete":
        return f"list: {state}"
    verified = one.run("backup", "verify", "--tier", "hashes")
    require_clean(verified)
    return "nobody" if verified.status == 0 else "verify"


@pytest.mark.slow
def test_a_store_that_lies_at_any_write_is_found_out_and_never_restored_from(
    keys: Keys, interpreters: Interpreters, puts: int
) -> None:
    seen: dict[tuple[str, str], set[str]] = {}

    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            outcome = one.run("backup", "run", fault=fault)
            assert outcome.status == 0, outcome
            name = outcome.report[fault.call - 1].removeprefix("put ")
            kind = "segment" if name[0].isdigit() else name
            seen.setdefault((kind, fault.kind), set()).add(found_by(one))
            restored = one.run("restore", SOURCE, "--to", str(one.target))
            if kind == "SHA256SUMS" and restored.status == 0:  # for people; a restore needs it not
                assert one.target.read_bytes() == one.content.read_bytes()
                return
            require_clean(restored)
            assert restored.status in (ExitStatus.NO_BACKUP, ExitStatus.VERIFICATION)
            assert not os.path.lexists(one.target)
            deep = one.run("backup", "verify", "--tier", "decrypt")
            assert deep.status in (ExitStatus.NO_BACKUP, ExitStatus.VERIFICATION)
            require_clean(deep)

    calls = range(1, puts + 1)
    with_each([Fault(kind, n) for kind in PUT_SILENT for n in calls], check)
    expected = {}
    for kind in ("key.pgp", "segment", "details.pgp", "SHA256SUMS"):
        expected[kind, "drop"] = expected[kind, "truncate"] = {"list: suspect"}
        expected[kind, "flip"] = {"verify"}
    for kind in ("manifest.json", "manifest.json.sig"):
        for fault in PUT_SILENT:
            expected[kind, fault] = {"list: suspect"}
    expected["manifest.json.sig", "drop"] = {"list: absent"}
    assert seen == expected


@pytest.mark.slow
def test_writes_that_come_twice_late_or_out_of_order_make_a_good_backup(
    keys: Keys, interpreters: Interpreters, puts: int
) -> None:
    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            assert one.run("backup", "run", fault=fault).status == 0
            assert one.states() == ["complete"]
            one.done("backup", "verify", "--tier", "decrypt")

    calls = range(1, puts + 1)
    with_each([Fault(kind, n) for kind in PUT_HARMLESS for n in calls], check)


@pytest.mark.slow
def test_a_store_that_goes_wrong_at_any_read_never_makes_a_wrong_restore(full_site: Site) -> None:
    wanted = full_site.content.read_bytes()

    def command(number: int) -> tuple[str, ...]:
        return ("restore", SOURCE, "--to", f"{full_site.target}-{number}")

    statuses = set()

    def check(fault: Fault) -> None:
        number = hash((fault.kind, fault.call)) & 0xFFFFFFFF
        target = full_site.target.with_name(f"{full_site.target.name}-{number}")
        outcome = full_site.run(*command(number), fault=fault)
        statuses.add(outcome.status)
        if outcome.status == 0:
            assert target.read_bytes() == wanted
            target.unlink()
            return
        require_clean(outcome)
        assert outcome.status in RESTORE_REFUSALS
        assert not os.path.lexists(target)
        if fault.error is not None and fault.kind != Code.OBJECT_MISSING.label:
            # what cannot be read of a backup makes it unreadable: none is left
            none = {Code.NO_BACKUP.label} if fault.kind in UNREADABLE else set()
            assert outcome.error["code"] in {fault.kind, *none}

    calls = range(1, len(full_site.run(*command(0), watch_store=True).report) + 1)
    assert len(calls) >= 8
    kinds = [*(code.label for code in READ_REFUSALS), *READ_LIES]
    with_each([Fault(kind, n) for kind in kinds for n in calls], check)
    assert statuses == {0, *RESTORE_REFUSALS}
    assert full_site.states() == ["complete"]
    full_site.require_no_process()


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["listing", "hashes", "decrypt"])
def test_a_store_that_goes_wrong_at_any_read_makes_no_check_fail_oddly(
    full_site: Site, tier: str
) -> None:
    """A check of a good backup through a bad store says good, or bad, or why it cannot say."""
    command = ("backup", "verify", "--tier", tier)

    def check(fault: Fault) -> None:
        outcome = full_site.run(*command, fault=fault)
        require_clean(outcome)
        assert outcome.status in {ExitStatus.OK, ExitStatus.WARNINGS, *RESTORE_REFUSALS}
        one_object = fault.kind in UNREADABLE and outcome.status == ExitStatus.VERIFICATION
        if one_object:
            assert "it cannot be read" in outcome.stdout
        elif fault.error is not None and fault.kind != Code.OBJECT_MISSING.label:
            assert outcome.error["code"] == fault.kind
        elif fault.kind not in ("delay", "duplicate", "reorder", "drop"):
            assert outcome.status != ExitStatus.OK

    calls = range(1, len(full_site.run(*command, watch_store=True).report) + 1)
    kinds = [*(code.label for code in READ_REFUSALS), *READ_LIES]
    with_each([Fault(kind, n) for kind in kinds for n in calls], check)


@pytest.mark.slow
def test_a_store_that_goes_wrong_at_any_deletion_leaves_a_rest_that_can_be_deleted(
    keys: Keys, interpreters: Interpreters, full_site: Site, puts: int
) -> None:
    (doomed,) = full_site.backups()
    command = ("backup", "delete", doomed["id"], "--apply", "--below-floor")

    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            one.copy_from(full_site)
            outcome = one.run(*command, fault=fault)
            require_clean(outcome)
            assert outcome.status == (fault.error.exit_status if fault.error else 0)
            if outcome.status == 0:
                assert one.states() in ([], ["absent"], ["suspect"])
            else:
                assert one.states() in (["absent"], ["complete"])
            if "complete" in one.states():
                one.done("backup", "verify", "--tier", "decrypt")
            if one.states():
                one.done(*command)
            assert one.states() == []
            assert one.store_files() == []

    reads = 3  # the listing, the manifest, its signature
    calls = range(reads + 1, reads + puts + 1)
    refusals = (Code.STORE_UNREACHABLE, Code.STORE_REFUSED, Code.STORE_FAILED)
    kinds = [*(code.label for code in refusals), "drop"]
    with_each([Fault(kind, n) for kind in kinds for n in calls], check)


def stop_when_it_hangs(one: Site, command: tuple[str, ...], fault: Fault) -> Outcome:
    """Run until the store hangs, send SIGTERM, and return how it ended."""
    sign = one.directory / "tmp" / HANGING
    sign.unlink(missing_ok=True)
    with one.start(*command, fault=fault) as running:
        until(sign.exists, "the store is called")
        time.sleep(0.05)
        running.send(signal.SIGTERM)
        return running.wait()


@pytest.mark.slow
def test_a_backup_into_a_store_that_hangs_at_any_call_can_be_stopped(
    keys: Keys, interpreters: Interpreters, puts: int
) -> None:
    def check(fault: Fault) -> None:
        with site(keys, interpreters) as one:
            outcome = stop_when_it_hangs(one, ("backup", "run"), fault)
            require_clean(outcome)
            assert outcome.status == ExitStatus.INTERRUPTED
            assert "complete" not in one.states()
            one.require_no_process()
            one.require_no_home()
            one.done("backup", "run")

    with_each([Fault("hang", n) for n in range(1, puts + 1)], check)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("restore", SOURCE, "--to", "TARGET"),
        ("backup", "list"),
        ("backup", "verify", "--tier", "hashes"),
        ("backup", "verify", "--tier", "decrypt"),
    ],
)
def test_reading_from_a_store_that_hangs_at_any_call_can_be_stopped(
    full_site: Site, command: tuple[str, ...]
) -> None:
    target = full_site.target.with_name("hanging")
    words = tuple(str(target) if word == "TARGET" else word for word in command)
    count = len(full_site.run(*words, watch_store=True).report)
    target.unlink(missing_ok=True)
    for number in range(1, count + 1):
        outcome = stop_when_it_hangs(full_site, words, Fault("hang", number))
        require_clean(outcome)
        assert outcome.status == ExitStatus.INTERRUPTED, number
        assert not os.path.lexists(target)
        full_site.require_no_process()
        full_site.require_no_home()
