"""A server that is lost for real, and the two runbooks that bring it back to a moment."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures import recovery
from tests.runbooks.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def lost(world: recovery.World, targets: Path, tmp_path: Path) -> World:
    """Thirty rows up to the moment, the table dropped after it, and all of it shipped."""
    owner = pwd.getpwuid(os.geteuid()).pw_name
    if owner == "root":
        owner = "postgres"
    world.server.sql(f'DROP ROLE IF EXISTS "{owner}"; CREATE ROLE "{owner}" SUPERUSER LOGIN')
    world.server.sql("INSERT INTO t SELECT i, now() FROM generate_series(1, 10) i")
    world.site.back_up("server")
    world.server.sql("INSERT INTO t SELECT i, now() FROM generate_series(11, 30) i")
    world.ship()
    moment = world.moment()
    world.server.sql("DROP TABLE t")
    world.ship()
    sockets = targets / "socket"
    sockets.mkdir()
    work = targets / "work"
    work.mkdir()
    shutil.chown(sockets, owner)
    values = {
        "SOURCE": "server",
        "BACKUP_HOST": world.site.host,
        "MOMENT": moment,
        "DATA": str(targets / "data"),
        "BINARIES": str(world.server.binaries),
        "LOG": str(sockets / "log"),
        "SOCKET": str(sockets),
        "ADMIN": owner,
        "OWNER": owner,
        "DATABASE": "postgres",
        "PROBE": "SELECT count(*) = 30 AND max(i) = 30 FROM t",
        "BACKUP": str(world.site.backup_directories("server")[-1]),
        "ARCHIVE": str(world.site.store / "wal" / world.site.host / str(world.system_id)),
        "SIGNER_KEY": str(world.site.keys.host.public_file),
        "WORK": str(work),
    }
    return World(tmp_path, world.site, values)


def stop(world: World) -> None:
    """End what a failed scenario would leave running."""
    pid = Path(world.values["DATA"]) / "postmaster.pid"
    if pid.exists():
        subprocess.run(["kill", "-QUIT", pid.read_text().split("\n")[0]], check=False)


@pytest.mark.parametrize(
    "page", ["restore-to-a-point-in-time", "restore-to-a-point-in-time-stock-tools"]
)
def test_the_moment_before_the_mistake_comes_back(lost: World, page: str) -> None:
    try:
        lost.mends(page)
        lost.undoes(page)
    finally:
        stop(lost)
    assert not Path(lost.values["DATA"]).exists()
    assert list(Path(lost.values["WORK"]).iterdir()) == []


def test_stock_tools_name_the_file_after_a_gap(lost: World) -> None:
    names = sorted(Path(lost.values["ARCHIVE"]).rglob("*-*.pgp"))
    segments = [one for one in names if len(one.name.split("-")[0]) == 24]
    segments[-2].unlink()
    try:
        done = lost.follow("restore-to-a-point-in-time-stock-tools")
    finally:
        stop(lost)
    assert done.returncode == 14
    assert f"a gap before {segments[-1].name.split('-')[0]}" in done.stdout + done.stderr
