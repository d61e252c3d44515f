"""A recovery to a point in time whose store, disk or process goes wrong while it follows the log.

What comes out is the whole truth, or nothing: never a server that lacks the end of its log.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import sandbox
from agent.backup.wal import listing, place
from agent.errors import Art32Error, Code, ExitStatus
from tests.faults.harness import Interpreters, Site, site
from tests.faults.store import Fault
from tests.faults.test_interruption import NAMESPACE, can_mount
from tests.faults.test_store_faults import require_clean, stop_when_it_hangs
from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.keys import Keys
from tests.fixtures.recovery import SERVER, World
from tests.fixtures.repository import text

pytestmark = pytest.mark.slow

ROWS = 30
REFUSALS = {
    ExitStatus.NO_BACKUP,
    ExitStatus.STORE,
    ExitStatus.VERIFICATION,
    ExitStatus.PERMISSION,
    ExitStatus.TRY_AGAIN,
}


@pytest.fixture(scope="module")
def shipped(
    keys: Keys, interpreters: Interpreters, archiving: tuple[PostgreSQLServer, Path]
) -> Iterator[Site]:
    """A base backup and three segments after it."""
    try:
        sandbox.check("nobody")
    except Art32Error as error:
        pytest.skip(f"no confinement here: {error.sentence}")
    server, archived = archiving
    with site(keys, interpreters, sources=SERVER + text(server.socket)) as one:
        world = World(server, archived, one.repository, {path.name for path in archived.iterdir()})
        server.sql("DROP TABLE IF EXISTS t; CREATE TABLE t (i int, at timestamptz)")
        one.repository.back_up("server")
        for number in range(3):
            first = 1 + 10 * number
            server.sql(
                f"INSERT INTO t SELECT i, now() FROM generate_series({first}, {first + 9}) i"
            )
            world.ship()
        yield one


def words(one: Site, name: str) -> tuple[str, ...]:
    return ("restore", "server", "--to", str(one.target.with_name(name)))


def last_segment(one: Site) -> str:
    archive = place.open_archive(one.repository.configuration().store)
    names = [entry.place.name.text for entry in listing.entries(archive)]
    return max(name for name in names if len(name) == 24)


def calls(one: Site) -> list[str]:
    """Return what a good recovery asks of the store, in order; its target is removed."""
    outcome = one.run(*words(one, "good"), watch_store=True)
    assert outcome.status == 0, outcome
    remove(one, "good")
    return outcome.report


def remove(one: Site, name: str) -> None:
    shutil.rmtree(one.target.with_name(name))


def require_nothing(one: Site, name: str) -> None:
    assert not os.path.lexists(one.target.with_name(name))
    assert one.left_by_restores() == []
    one.require_no_process()


@pytest.fixture(scope="module")
def points(shipped: Site) -> dict[str, int]:
    """The numbers of calls of a recovery: when it looks for the last segment, reads it, and proves
    that none comes after it."""
    asked = calls(shipped)
    last = last_segment(shipped)
    of_log = [number for number, one in enumerate(asked, 1) if last in one or "/" in one]
    listed = next(n for n, one in enumerate(asked, 1) if one.startswith("list") and last in one)
    got = next(n for n, one in enumerate(asked, 1) if one.startswith("get") and last in one)
    assert listed < got
    return {"first": min(of_log), "listed": listed, "got": got, "proof": len(asked)}


@pytest.mark.parametrize("point", ["first", "listed", "got", "proof"])
@pytest.mark.parametrize("kind", [Code.STORE_UNREACHABLE.label, "drop"])
def test_a_store_that_goes_wrong_while_the_log_is_followed_makes_no_shorter_recovery(
    shipped: Site, points: dict[str, int], kind: str, point: str
) -> None:
    outcome = shipped.run(*words(shipped, "faulty"), fault=Fault(kind, points[point]))
    if outcome.status == 0:
        # what was read ahead and failed is asked for again; the proof's own loss is the limit
        assert kind == "drop" or point in ("listed", "got")
        target = shipped.target.with_name("faulty")
        assert "followed to" in outcome.stdout
        assert (target / "PG_VERSION").exists()
        remove(shipped, "faulty")
        return
    require_clean(outcome)
    assert outcome.status in REFUSALS, outcome
    require_nothing(shipped, "faulty")


def test_a_store_that_hangs_while_the_log_is_followed_can_be_left(
    shipped: Site, points: dict[str, int]
) -> None:
    outcome = stop_when_it_hangs(shipped, words(shipped, "hanging"), Fault("hang", points["first"]))
    require_clean(outcome)
    assert outcome.status == ExitStatus.INTERRUPTED
    require_nothing(shipped, "hanging")


def kill(one: Site, *, first: int, step: int) -> int:
    """Kill a recovery at its points; each leaves no server and no target but a whole one, and the
    next one removes what is left."""
    for killed, number in enumerate(range(first, 2000, step)):
        name = f"killed-{number}"
        outcome = one.run(*words(one, name), strike_at=number)
        one.require_no_process()
        if outcome.status != -signal.SIGKILL:
            assert outcome.status == 0, outcome
            remove(one, name)
            return killed
        if os.path.lexists(one.target.with_name(name)):
            remove(one, name)
        else:
            one.done(*words(one, name))
            remove(one, name)
        assert one.left_by_restores() == []
        assert list(one.target.parent.iterdir()) == []
        one.require_no_home_of_the_dead()
    raise AssertionError("the recovery never comes to its end")


@pytest.mark.timeout(600)
def test_a_recovery_that_is_killed_leaves_no_server_and_nothing_that_the_next_does_not_remove(
    shipped: Site,
) -> None:
    assert kill(shipped, first=60, step=90) >= 1


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_recovery_killed_anywhere_leaves_no_server(shipped: Site) -> None:
    assert kill(shipped, first=1, step=1) >= 30


@pytest.mark.parametrize("size", ["8m", "48m"], ids=["unpacking", "following the log"])
def test_a_disk_that_is_full_ends_a_recovery_with_one_sentence(shipped: Site, size: str) -> None:
    if (reason := can_mount()) is not None:
        pytest.skip(f"no file system can be mounted here: {reason}")
    parent = shipped.target.parent
    script = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"'
    prefix = (*NAMESPACE, "sh", "-c", script, "sh", f"size={size},mode=0700", str(parent))
    inside = Interpreters(1, prefix)
    try:
        one = Site(shipped.repository, inside, shipped.content)
        outcome = one.run(*words(one, "full"))
        require_clean(outcome)
        assert outcome.error["code"] == "target-failed", outcome.stderr
        again = one.run(*words(one, "full"))  # nothing of the first is in its way
        assert again.error["code"] == outcome.error["code"]
    finally:
        inside.close()
    require_nothing(shipped, "full")
