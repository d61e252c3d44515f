"""A recovery to a point in time whose store, disk or process goes wrong while it follows the log.

What comes out is the whole truth, or nothing: never a server that lacks the end of its log.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.backup.wal import listing, place
from agent.errors import Code, ExitStatus
from tests.faults.harness import Interpreters, Outcome, Site, site
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
    confinement: None,
    keys: Keys,
    interpreters: Interpreters,
    archiving: tuple[PostgreSQLServer, Path],
) -> Iterator[Site]:
    """A base backup and three segments after it."""
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


def recovered(one: Site, **more: Any) -> Outcome:
    """Recover as one should; the target is removed."""
    outcome = one.run(*words(one, "good"), **more)
    assert outcome.status == 0, outcome
    remove(one, "good")
    return outcome


def position(outcome: Outcome) -> str:
    """Return how far the log was followed."""
    return outcome.stdout.split("the log was followed to ")[1].split(",")[0]


def remove(one: Site, name: str) -> None:
    shutil.rmtree(one.target.with_name(name))


def require_nothing(one: Site, name: str) -> None:
    assert not os.path.lexists(one.target.with_name(name))
    assert one.left_by_restores() == []
    one.require_no_process()


@dataclass(frozen=True)
class Points:
    """How far a good recovery comes, and the numbers of its calls of the store: when it first asks
    for the log, looks for the last segment, reads it, and proves that none comes after it."""

    reaches: str
    first: int
    listed: int
    got: int
    proof: int


@pytest.fixture(scope="module")
def points(shipped: Site) -> Points:
    outcome = recovered(shipped, watch_store=True)
    asked, last = outcome.report, last_segment(shipped)
    numbers = list(enumerate(asked, 1))
    first = next(n for n, one in numbers if last[:8] in one and one.startswith("list"))
    listed = next(n for n, one in numbers if last in one and one.startswith("list"))
    got = next(n for n, one in numbers if last in one and one.startswith("get"))
    assert first < listed < got < len(asked)
    return Points(position(outcome), first, listed, got, len(asked))


@pytest.mark.parametrize(
    ("kind", "point"),
    [
        (Code.STORE_UNREACHABLE.label, "first"),
        (Code.STORE_UNREACHABLE.label, "proof"),
        ("drop", "listed"),
        ("drop", "got"),
    ],
)
def test_a_store_that_goes_wrong_while_the_log_is_followed_makes_no_shorter_recovery(
    shipped: Site, points: Points, kind: str, point: str
) -> None:
    call = int(getattr(points, point))
    outcome = shipped.run(*words(shipped, "faulty"), fault=Fault(kind, call))
    if outcome.status == 0:  # what was read ahead and went wrong is asked for again
        assert position(outcome) == points.reaches
        remove(shipped, "faulty")
        return
    require_clean(outcome)
    assert outcome.status in REFUSALS, outcome
    require_nothing(shipped, "faulty")


def test_a_store_that_hangs_while_the_log_is_followed_can_be_left(
    shipped: Site, points: Points
) -> None:
    outcome = stop_when_it_hangs(shipped, words(shipped, "hanging"), Fault("hang", points.first))
    require_clean(outcome)
    assert outcome.status == ExitStatus.INTERRUPTED
    require_nothing(shipped, "hanging")


def killed_at(one: Site, number: int) -> bool:
    """Kill a recovery before that event: it leaves no server and no target but a whole one, and
    the next one removes what is left. Return whether it came so far."""
    name = f"killed-{number}"
    outcome = one.run(*words(one, name), strike_at=number)
    one.require_no_process()
    assert outcome.status in (-signal.SIGKILL, 0), outcome
    if os.path.lexists(one.target.with_name(name)):  # whole, and its run has left something else
        remove(one, name)
    one.done(*words(one, name))
    remove(one, name)
    assert one.left_by_restores() == []
    assert list(one.target.parent.iterdir()) == []
    one.require_no_home()
    return outcome.status != 0


def test_a_recovery_that_is_killed_leaves_no_server_and_nothing_that_the_next_does_not_remove(
    shipped: Site,
) -> None:
    events = recovered(shipped, strike_at=1_000_000).report
    asked = [number for number, name in enumerate(events) if name == "subprocess.Popen"]
    assert len(asked) > 10
    assert killed_at(shipped, asked[-4])  # while the server follows its log


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_a_recovery_killed_anywhere_leaves_no_server(shipped: Site) -> None:
    killed = 0
    while killed_at(shipped, killed + 1):
        killed += 1
    assert killed > 50


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
