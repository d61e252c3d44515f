"""Restores to a point in time, with a real server, its real log, and what may be wrong with it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from agent.errors import Art32Error, Code
from tests.fixtures.databases import PostgreSQLServer, short_directory
from tests.fixtures.recovery import SERVER, World, started
from tests.fixtures.repository import MakeRepository, text


def fill(world: World, first: int, last: int) -> str:
    """Insert a row for each number, each in a transaction of its own; return the moment after."""
    world.server.sql(
        "".join(f"INSERT INTO t VALUES ({i}, clock_timestamp());" for i in range(first, last + 1))
    )
    return world.moment()


def rows(world: World, data: Path) -> list[int]:
    with started(world.server.binaries, data) as server:
        return [int(one) for one in server.sql("SELECT i FROM t ORDER BY i").split()]


def test_the_last_second_before_the_mistake_comes_back(world: World, targets: Path) -> None:
    before = fill(world, 1, 10)
    world.site.back_up("server")
    first = fill(world, 11, 20)
    world.ship()
    good = fill(world, 21, 30)
    world.server.sql("DROP TABLE t")
    world.ship()

    done = world.art32("restore", "server", "--at", good, "--to", str(targets / "good"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world, targets / "good") == list(range(1, 31))
    assert "goes on as timeline 2" in done.stdout
    assert (targets / "good" / "postgresql.auto.conf").read_text() == ""
    assert "archive_mode = off" in (targets / "good" / "postgresql.conf").read_text()
    ready = targets / "good" / "pg_wal" / "archive_status" / "00000002.history.ready"
    assert ready.exists()

    done = world.art32("restore", "server", "--at", first, "--to", str(targets / "first"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world, targets / "first") == list(range(1, 21))

    done = world.art32("restore", "server", "--at", before, "--to", str(targets / "before"))
    assert done.returncode == 10
    assert "no complete backup of source `server`" in done.stderr
    assert sorted(path.name for path in targets.iterdir()) == ["first", "good"]


def test_a_moment_after_the_end_of_the_log_is_an_error_that_names_the_last_one(
    world: World, targets: Path
) -> None:
    world.site.back_up("server")
    fill(world, 1, 10)
    world.ship()
    shipped = world.server.sql("SELECT max(at) FROM t"), world.moment()
    later = fill(world, 11, 20)
    done = world.art32("restore", "server", "--at", later, "--to", str(targets / "late"))
    assert done.returncode == 10, done.stdout + done.stderr
    last = done.stderr.partition("the last transaction in it is of `")[2].partition("`")[0]
    first, end = map(datetime.fromisoformat, shipped)
    assert first.replace(microsecond=0) <= datetime.fromisoformat(last) <= end
    assert "runbook: restore-to-a-point-in-time" in done.stderr
    assert list(targets.iterdir()) == []

    done = world.art32("restore", "server", "--to", str(targets / "end"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(world, targets / "end") == list(range(1, 11))


def test_a_gap_in_the_log_is_never_taken_for_its_end(world: World, targets: Path) -> None:
    world.site.back_up("server")
    fill(world, 1, 10)
    lost = world.server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    world.ship(leave_out=lost)
    fill(world, 11, 20)
    world.ship(leave_out=lost)
    done = world.art32("restore", "server", "--to", str(targets / "gap"))
    assert done.returncode == 14, done.stdout + done.stderr
    assert f"the archive has no `{lost}`, and it has what comes after it" in done.stderr
    assert list(targets.iterdir()) == []


def test_a_damaged_segment_stops_the_recovery(world: World, targets: Path) -> None:
    world.site.back_up("server")
    fill(world, 1, 10)
    spoilt = world.server.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    world.ship()
    (found,) = world.site.store.rglob(f"{spoilt}-*.pgp")
    data = bytearray(found.read_bytes())
    data[len(data) // 2] ^= 1
    found.chmod(0o600)
    found.write_bytes(data)
    done = world.art32("restore", "server", "--to", str(targets / "spoilt"))
    assert done.returncode == 14, done.stdout + done.stderr
    assert spoilt in done.stderr
    assert list(targets.iterdir()) == []


def test_settings_that_come_with_the_backup_do_nothing(world: World, targets: Path) -> None:
    """Hostile ground: every command that a server would run, and a library that is not there."""
    trace = targets / "trace"
    for name in ("archive_command", "archive_cleanup_command", "recovery_end_command"):
        world.server.sql(f"ALTER SYSTEM SET {name} = 'touch {trace}; true'")
    for name in ("shared_preload_libraries", "local_preload_libraries"):
        world.server.sql(f"ALTER SYSTEM SET {name} = 'not_there'")
    fill(world, 1, 10)
    world.site.back_up("server")
    world.ship()
    done = world.art32("restore", "server", "--to", str(targets / "calm"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not trace.exists()
    kept = (targets / "calm" / "postgresql.auto.conf.from-backup").read_text()
    assert str(trace) in kept
    assert rows(world, targets / "calm") == list(range(1, 11))


@pytest.mark.parametrize("option", [["--only", "public.t"], ["--overwrite"]])
def test_a_whole_server_takes_no_options_of_a_single_database(
    world: World, targets: Path, option: list[str]
) -> None:
    world.site.back_up("server")
    done = world.art32("restore", "server", *option, "--to", str(targets / "one"))
    assert done.returncode == 2
    assert "a base backup is a whole server" in done.stderr


def test_a_server_with_tablespaces_has_no_base_backup(world: World) -> None:
    with short_directory() as place:
        world.server.sql(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
        try:
            with pytest.raises(Art32Error) as caught:
                world.site.back_up("server")
        finally:
            world.server.sql("DROP TABLESPACE elsewhere")
    assert caught.value.code is Code.SOURCE_FAILED
    assert "has tablespaces of its own" in caught.value.sentence
    assert "SET TABLESPACE pg_default" in (caught.value.hint or "")
    done = world.art32("restore", "server", "--to", "/nowhere/at/all")
    assert done.returncode == 10, done.stdout + done.stderr


def test_a_server_that_archives_nothing_has_no_base_backup(
    postgresql: PostgreSQLServer, make_repository: MakeRepository
) -> None:
    site = make_repository(SERVER.replace("replicator", postgresql.admin) + text(postgresql.socket))
    with pytest.raises(Art32Error) as caught:
        site.back_up("server")
    assert caught.value.code is Code.SOURCE_FAILED
    assert "`archive_mode` is `off`" in caught.value.sentence
