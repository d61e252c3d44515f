"""`kill -9` of the service before events by which it touches the world, while PostgreSQL pushes.

At whatever instant it dies: what was acknowledged is in the archive, the archive has no hole, and
the next service goes on.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.backup import identity
from agent.backup.wal import listing, names, place
from agent.backup.wal.opening import Opener
from agent.wal import client
from tests.faults.harness import Interpreters, Running, Site, site
from tests.faults.store import HANGING, Fault
from tests.fixtures.keys import Keys
from tests.fixtures.repository import text
from tests.fixtures.waiting import until
from tests.fixtures.wal import SYSTEM, segment

NUMBERS = (3, 4, 5)
STEP = 24  # of the events, in the ordinary suite
LAST_EVENT = 1000


def data_directory(one: Site) -> Path:
    data = one.directory / "data"
    (data / "pg_wal" / "archive_status").mkdir(parents=True)
    (data / "global").mkdir()
    (data / "global" / "pg_control").write_bytes(SYSTEM.to_bytes(8, sys.byteorder))
    for number in NUMBERS:
        name, content = segment(number)
        (data / "pg_wal" / name).write_bytes(content)
        (data / "pg_wal" / "archive_status" / f"{name}.ready").touch()
    return data


def pushed(one: Site, data: Path, running: Running) -> list[str]:
    """Push as the archiver does until all are acknowledged or the service is dead; return what
    was acknowledged."""
    address = one.directory / "s"
    done: list[str] = []
    dead = Path(f"/proc/{running.pid}/cmdline")

    def over() -> bool:
        try:
            return not dead.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(lambda: over() or address.exists(), "a socket")
    for number in NUMBERS:
        name, _ = segment(number)
        while True:
            try:
                client._push(str(address), str(data / "pg_wal" / name))
            except client.Failure:
                if over():
                    return done
            else:
                done.append(name)
                break
    return done


@contextlib.contextmanager
def wal_site(keys: Keys, interpreters: Interpreters) -> Iterator[tuple[Site, Path]]:
    """Hold a site whose service listens, and the data directory of a server that archives."""
    with site(keys, interpreters, sources="", more="[wal]\nsocket = SOCKET") as one:
        file = one.repository.config_file
        file.write_text(file.read_text().replace("SOCKET", text(one.directory / "s")))
        data = data_directory(one)
        client.CONTROL = str(data / "global" / "pg_control")
        yield one, data


def killed_at(keys: Keys, interpreters: Interpreters, number: int) -> bool:
    """Kill the service before that event and look; return whether it came so far."""
    wanted = [segment(one)[0] for one in NUMBERS]
    with wal_site(keys, interpreters) as (one, data):
        config = one.repository.configuration()
        archive = place.open_archive(config.store)

        def stored() -> list[str]:
            return [entry.place.name.text for entry in listing.entries(archive)]

        with one.start("wal", "serve", strike_at=number) as running:
            acknowledged = pushed(one, data, running)
            running.send(signal.SIGTERM)
            outcome = running.wait()
        assert outcome.status in (-signal.SIGKILL, 0), outcome
        one.require_no_process()
        there = sorted(set(stored()))
        assert there == wanted[: len(there)]
        assert acknowledged == there[: len(acknowledged)]
        with one.start("wal", "serve") as running:
            assert pushed(one, data, running) == wanted
            running.send(signal.SIGTERM)
            assert running.wait().status == 0
        assert len(stored()) <= len(wanted) + len(NUMBERS)
        with identity.reader(config) as reader:
            opener = Opener(archive, reader, prefix="", private_home=keys.restorer_home)
            for which in NUMBERS:
                name, content = segment(which)
                found = opener.find(["db1"], SYSTEM, names.require(name))
                assert found is not None
                assert found.content.view == content
        return outcome.status != 0


@pytest.fixture(autouse=True)
def control_file() -> Iterator[None]:
    before = client.CONTROL
    yield
    client.CONTROL = before


def kill(keys: Keys, interpreters: Interpreters, *, step: int) -> int:
    """Kill one service after another, each at a later event; return how many were killed."""
    for count in range(LAST_EVENT):
        if not killed_at(keys, interpreters, step * (count + 1)):
            return count
    raise AssertionError("the service never comes to its end")


@pytest.mark.slow
def test_no_acknowledged_segment_is_lost_when_the_service_is_killed(
    keys: Keys, interpreters: Interpreters
) -> None:
    assert kill(keys, interpreters, step=STEP) >= 4


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
def test_no_acknowledged_segment_is_lost_wherever_the_service_is_killed(
    keys: Keys, interpreters: Interpreters
) -> None:
    assert kill(keys, interpreters, step=1) >= 50


def test_a_service_whose_store_hangs_ends_when_it_is_told_to(
    keys: Keys, interpreters: Interpreters
) -> None:
    with wal_site(keys, interpreters) as (one, data):
        sign = one.directory / "tmp" / HANGING
        done: list[str] = []
        with one.start("wal", "serve", fault=Fault("hang", 2)) as running:
            asking = threading.Thread(target=lambda: done.extend(pushed(one, data, running)))
            asking.start()
            until(sign.exists, "the store hangs")
            running.send(signal.SIGTERM)
            assert running.wait(20).status == 0
            asking.join()
        assert done == [segment(NUMBERS[0])[0]]
        one.require_no_process()
        one.require_no_home()
        with one.start("wal", "serve") as running:
            assert pushed(one, data, running) == [segment(number)[0] for number in NUMBERS]
            running.send(signal.SIGTERM)
            assert running.wait().status == 0
