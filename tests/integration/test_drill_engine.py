"""A drill in two processes, as its units are: one with the key, one that makes the rooms."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import Code
from tests.fixtures.databases import MariaDBServer, PostgreSQLServer
from tests.fixtures.recovery import World
from tests.fixtures.repository import MakeRepository, Repository, text

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="units of a drill run as root")
# as systemd passes a socket (sd_listen_fds(3))
PASS = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "agent", *sys.argv[2:]])
"""
# the socket's place is fixed: only a test has another
ASK = """
import sys
from pathlib import Path
from agent import sandbox
from agent.cli import main
sandbox.ENGINES = Path(sys.argv[1])
main(sys.argv[2:])
"""
#: What the unit `art32-drill@` leaves to root.
LESS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all,+chown,+fowner,+dac_override")


@pytest.fixture
def place() -> Iterator[Path]:
    """A short directory for engines: sockets need short paths."""
    with tempfile.TemporaryDirectory(prefix="art32-drill-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        (Path(name) / "engines").mkdir(mode=0o755)
        yield Path(name)


def drill(site: Repository, place: Path) -> subprocess.CompletedProcess[str]:
    argv = [*LESS, sys.executable, "-c", ASK, str(place / "door"), "--config"]
    argv += [str(site.config_file), "--output", "json", "drill", "run"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def site(
    postgresql: PostgreSQLServer,
    mariadb: MariaDBServer,
    make_repository: MakeRepository,
    place: Path,
    tmp_path: Path,
) -> Repository:
    """One good backup of each kind that has an engine."""
    postgresql.create("shop", "CREATE TABLE orders AS SELECT generate_series(1, 300) AS id;")
    mariadb.create("crm", "CREATE TABLE people AS SELECT seq AS id FROM seq_1_to_20;")
    defaults = tmp_path / "my.cnf"
    defaults.write_text("[client]\nuser=root\n")
    defaults.chmod(0o600)
    tickets, tree = tmp_path / "tickets.db", tmp_path / "tree"
    with sqlite3.connect(tickets) as database:
        database.execute("CREATE TABLE t AS SELECT 1 AS a")
    database.close()
    (tree / "private").mkdir(parents=True)
    (tree / "private" / "file").write_text("theirs")
    os.chown(tree / "private", 4711, 4712)
    (tree / "private").chmod(0o700)
    made = make_repository(
        '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
        f"host = {text(postgresql.socket)}\nuser = {text(postgresql.admin)}\n"
        '[[sources]]\nname = "crm"\nkind = "mysql"\ndatabase = "crm"\n'
        f"socket = {text(mariadb.socket)}\ndefaults_file = {text(defaults)}\n"
        f'[[sources]]\nname = "tickets"\nkind = "sqlite"\npath = {text(tickets)}\n'
        f'[[sources]]\nname = "tree"\nkind = "directory"\npath = {text(tree)}',
        more=f"[drill]\ndirectory = {text(place / 'engines')}\n"
        '[[drill.checks]]\nsource = "tree"\nmust_exist = ["./private/file"]\n',
    )
    for source in ("app", "crm", "tickets", "tree"):
        made.back_up(source)
    return made


@contextlib.contextmanager
def serving(site: Repository, place: Path) -> Iterator[None]:
    """Have the other process listen at its door."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place / "door"))
        listener.listen()
        passed = str(listener.fileno())
        argv = [sys.executable, "-c", PASS, passed, "--config", str(site.config_file)]
        service = subprocess.Popen([*argv, "drill", "engine"], pass_fds=[listener.fileno()])
    try:
        yield
    finally:
        service.kill()
        service.wait()


@pytest.mark.slow
def test_each_kind_is_drilled_by_a_process_that_may_make_no_room(
    site: Repository, place: Path
) -> None:
    with serving(site, place):
        done = drill(site, place)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)["data"]
    assert len(results) == 4
    for result in results:
        assert result["checks"], result
        assert all(check["good"] for check in result["checks"]), result
    assert list((place / "engines").iterdir()) == []


@pytest.mark.slow
def test_so_is_a_whole_server(world: World, place: Path) -> None:
    world.server.sql("INSERT INTO t VALUES (1, now())")
    world.site.back_up("server")
    world.server.sql("INSERT INTO t VALUES (2, now())")
    world.ship()
    with world.site.config_file.open("a") as config:
        config.write(
            f"\n[drill]\ndirectory = {text(place / 'engines')}\n[[drill.checks]]\n"
            'source = "server"\ndatabase = "postgres"\n'
            'assertions = ["SELECT count(*) = 2 FROM t"]\n'
        )
    with serving(world.site, place):
        done = drill(world.site, place)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["data"]
    shown = {one["name"]: one["good"] for one in result["checks"]}
    names = ["freshness", "log", "amcheck", "assertion 1"]
    assert shown == dict.fromkeys(names, True)
    assert list((place / "engines").iterdir()) == []


def test_without_the_other_process_no_drill_passes(site: Repository, place: Path) -> None:
    done = drill(site, place)
    assert done.returncode == 14, done.stdout + done.stderr
    errors = {result["error"] for result in json.loads(done.stdout)["data"]}
    assert errors == {Code.SANDBOX_UNAVAILABLE.label}
