"""Drills of base backups: the server comes back with its log, is started, and is read whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.recovery import World
from tests.fixtures.repository import text

pytestmark = pytest.mark.slow

COUNT = 'assertions = ["SELECT count(*) = {} FROM t"]\n'


def expect(world: World, engines: Path, checks: str) -> None:
    """Say where drills are held, and what one of `server` must show."""
    config = world.site.config_file
    before = config.read_text().partition("\n[drill]\n")[0]
    table = '[[drill.checks]]\nsource = "server"\n'
    config.write_text(f"{before}\n[drill]\ndirectory = {text(engines)}\n{table}{checks}")


def fill(world: World, first: int, last: int) -> None:
    world.server.sql(f"INSERT INTO t SELECT i, now() FROM generate_series({first}, {last}) i")


def test_the_newest_comes_back_with_all_of_its_log(world: World, engines: Path) -> None:
    fill(world, 1, 10)
    world.site.back_up("server")
    fill(world, 11, 20)
    world.ship()
    newest = 'newest_row = "SELECT max(at) FROM t"\nmaximum_loss_hours = 1\n'
    own = f'database = "postgres"\nsystem_identifier = "{world.system_id}"\n'
    expect(world, engines, own + COUNT.format(20) + newest + "maximum_minutes = 60\n")

    done = world.art32("--output", "json", "drill", "run", "server")

    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["data"]
    names = ["freshness", "log", "amcheck", "system identifier", "assertion 1", "loss", "time"]
    assert {one["name"]: one["good"] for one in result["checks"]} == dict.fromkeys(names, True)
    assert 0 <= result["loss_seconds"] < 3600
    assert list(engines.iterdir()) == []
    ledger = (world.site.state / "ledger.jsonl").read_text()
    assert [one for one in ('"t"', "FROM t", "holds") if one in ledger] == []


def test_an_older_one_follows_its_log_to_where_the_next_begins(world: World, engines: Path) -> None:
    (older,) = world.site.back_up("server")
    fill(world, 1, 20)
    world.site.back_up("server")
    world.ship()
    fill(world, 21, 30)
    world.ship()
    expect(world, engines, 'database = "postgres"\n' + COUNT.format(20))
    done = world.art32("drill", "run", "server", "--id", older.id)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok   assertion 1: holds" in done.stdout

    done = world.art32("drill", "run", "server")
    assert done.returncode == 14
    assert "FAIL assertion 1: does not hold" in done.stdout


def test_a_hole_in_the_log_fails_the_drill(world: World, engines: Path) -> None:
    world.site.back_up("server")
    fill(world, 1, 10)
    lost = world.server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    world.ship(leave_out=lost)
    fill(world, 11, 20)
    world.ship(leave_out=lost)
    expect(world, engines, 'database = "postgres"\n')
    done = world.art32("drill", "run", "server")
    assert done.returncode == 14
    assert "runbook: drill-failed" in done.stdout
    assert f"`{lost}`" in done.stdout
    assert list(engines.iterdir()) == []


def test_an_index_that_was_damaged_before_the_backup_is_found(world: World, engines: Path) -> None:
    """The server's manifest has the damaged file, so that only reading it tells."""
    world.server.sql("CREATE INDEX by_number ON t (i)")
    fill(world, 1, 1000)
    world.server.sql("CHECKPOINT")
    path = (
        world.server.socket / "data" / world.server.sql("SELECT pg_relation_filepath('by_number')")
    )
    data = bytearray(path.read_bytes())
    data[8192 + 24 : 8192 + 64] = bytes(40)  # line pointers of the first leaf
    path.write_bytes(data)
    world.site.back_up("server")
    world.ship()
    expect(world, engines, 'database = "postgres"\n')
    done = world.art32("drill", "run", "server")
    assert done.returncode == 14, done.stdout + done.stderr
    assert "FAIL amcheck: " in done.stdout


def test_a_query_needs_to_know_which_database_it_is_for(world: World, engines: Path) -> None:
    world.site.back_up("server")
    world.ship()
    expect(world, engines, COUNT.format(0))
    done = world.art32("drill", "run", "server")
    assert done.returncode == 14
    assert "FAIL assertions: a server has many databases: name one as `database`" in done.stdout

    expect(world, engines, 'newest_row = "SELECT max(at) FROM t"\n')
    done = world.art32("drill", "run", "server")
    assert done.returncode == 14
    assert "name one of them as `database` in the same table" in done.stdout
