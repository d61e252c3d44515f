"""`kill -9` before every event of a restore into a database server, then the next restore.

Some of the points in `make test`, all of them in `make test-all`.
"""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.harness import CANARY, INTERPRETERS, SOURCE, Interpreters, Site, site
from tests.faults.test_kill import KILLED, at_every_point
from tests.fixtures.databases import MariaDBServer, PostgreSQLServer
from tests.fixtures.keys import Keys
from tests.fixtures.repository import text

ROWS = 200
TOTAL = 7 * ROWS * (ROWS + 1) // 2
STRIDE = 11  # less than the number of points at which a restore leaves something


@dataclass(frozen=True)
class Server:
    """A database server to restore into. `total` answers with the sum of a restored table."""

    sources: str
    names: Callable[[], set[str]]
    address: Callable[[str], str]
    total: Callable[[str], str]
    drop: Callable[[str], object]


@pytest.fixture
def on_postgresql(postgresql: PostgreSQLServer) -> Iterator[Server]:
    server, name = postgresql, f"kill_{os.getpid()}"
    server.sql(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'restorer')"
        " THEN CREATE ROLE restorer LOGIN CREATEDB; END IF; END $$"
    )
    server.create(
        name,
        "CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);"
        f"INSERT INTO orders SELECT i, i * 7 FROM generate_series(1, {ROWS}) i;",
    )
    yield Server(
        f'[[sources]]\nname = "{SOURCE}"\nkind = "postgresql"\ndatabase = "{name}"\n'
        f"host = {text(server.socket)}\nport = {server.port}\nuser = {text(server.admin)}",
        server.names,
        lambda one: f"postgresql:///{one}?host={server.socket}&port={server.port}&user=restorer",
        lambda one: server.sql("SELECT sum(total) FROM orders", database=one),
        lambda one: server.sql(f'DROP DATABASE "{one}" WITH (FORCE)'),
    )
    server.sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def on_mariadb(mariadb: MariaDBServer, tmp_path: Path) -> Iterator[Server]:
    server, name = mariadb, f"kill_{os.getpid()}"
    rows = ", ".join(f"({i}, {i * 7})" for i in range(1, ROWS + 1))
    server.create(
        name,
        "CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);"
        f"INSERT INTO orders VALUES {rows};",
    )
    server.sql(
        "CREATE OR REPLACE USER killer@localhost; GRANT ALL ON `killed%`.* TO killer@localhost"
    )
    options = tmp_path / "my.cnf"
    options.write_text("[client]\nuser=root\n")
    options.chmod(0o600)
    yield Server(
        f'[[sources]]\nname = "{SOURCE}"\nkind = "mysql"\ndatabase = "{name}"\n'
        f"socket = {text(server.socket)}\ndefaults_file = {text(options)}",
        server.names,
        lambda one: f"mysql:///{one}?socket={server.socket}&user=killer",
        lambda one: server.sql("SELECT sum(total) FROM orders", database=one),
        lambda one: server.sql(f"DROP DATABASE `{one}`"),
    )
    server.sql(f"DROP DATABASE `{name}`")


def kill_everywhere(
    keys: Keys, interpreters: Interpreters, server: Server, *, first: int, step: int
) -> None:
    """Kill a restore at its points: the target is whole, or not there or named as what is left; and
    that is gone after the next restore, which is right."""
    there: list[bool] = []
    left: list[bool] = []
    before = server.names()

    def attempt(number: int) -> bool:
        one = free.get()
        target = f"killed_{number}"
        words = ("restore", SOURCE, "--to", server.address(target))
        killed = one.run(*words, strike_at=number)
        assert killed.status in (KILLED, 0), killed
        one.require_no_process()
        named = one.left_by_restores()
        left.append(bool(named))
        # in MariaDB a database has its final name from the start, and a mark until all is there
        there.append(target in server.names() and not any(f"`{target}`" in what for what in named))
        if not there[-1]:
            one.done(*words)
        assert one.left_by_restores() == []
        assert server.total(target).strip() == str(TOTAL)
        one.require_no_home_of_the_dead()
        assert one.places_of(CANARY) == []
        server.drop(target)
        free.put(one)
        return killed.status == KILLED

    with (
        site(keys, interpreters, sources=server.sources) as one,
        site(keys, interpreters, sources=server.sources) as other,
    ):
        free: queue.SimpleQueue[Site] = queue.SimpleQueue()
        for each in (one, other):
            each.done("backup", "run")
            free.put(each)
        assert free.qsize() == INTERPRETERS
        points = at_every_point(attempt, first=first, step=step)
    assert points > 30
    assert set(there) == {True, False}
    assert any(left)
    assert server.names() == before


@pytest.mark.slow
def test_some_points_of_a_restore_into_postgresql(
    keys: Keys, interpreters: Interpreters, on_postgresql: Server
) -> None:
    kill_everywhere(keys, interpreters, on_postgresql, first=4, step=STRIDE)


@pytest.mark.slow
def test_some_points_of_a_restore_into_mariadb(
    keys: Keys, interpreters: Interpreters, on_mariadb: Server
) -> None:
    kill_everywhere(keys, interpreters, on_mariadb, first=4, step=STRIDE)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_every_point_of_a_restore_into_postgresql(
    keys: Keys, interpreters: Interpreters, on_postgresql: Server
) -> None:
    kill_everywhere(keys, interpreters, on_postgresql, first=1, step=1)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_every_point_of_a_restore_into_mariadb(
    keys: Keys, interpreters: Interpreters, on_mariadb: Server
) -> None:
    kill_everywhere(keys, interpreters, on_mariadb, first=1, step=1)
