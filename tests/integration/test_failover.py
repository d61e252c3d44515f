"""A standby is promoted for real: two hosts archive one cluster, and a bucket brings it back."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.databases import PostgreSQLServer, short_directory
from tests.fixtures.hosts import section
from tests.fixtures.keys import Keys, ThrowAwayKey
from tests.fixtures.recovery import SERVER, started
from tests.fixtures.repository import Repository, text, write_repository
from tests.fixtures.s3 import VERSIONED, S3Server
from tests.fixtures.waiting import until
from tests.fixtures.wal import archiving, client, cloned, serving

pytestmark = pytest.mark.slow


@dataclass
class Cluster:
    """What three servers of one cluster have left in a bucket, and the machine that restores."""

    restorer: Repository
    binaries: Path
    targets: Path
    standby_refused: str

    def restore(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agent", "--config", str(self.restorer.config_file)]
        words = ["restore", "server", "--host", "db1", "--to", str(self.targets / name)]
        return subprocess.run(
            [*command, *words, *arguments], capture_output=True, text=True, check=False, timeout=300
        )

    def rows(self, name: str) -> list[int]:
        with started(self.binaries, self.targets / name) as server:
            return [int(one) for one in server.sql("SELECT i FROM t ORDER BY i").split()]


def art32(site: Repository, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agent", "--config", str(site.config_file), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def insert(server: PostgreSQLServer, first: int, last: int) -> None:
    server.sql(f"INSERT INTO t SELECT i FROM generate_series({first}, {last}) i")


def shipped(server: PostgreSQLServer) -> None:
    """End the segment and wait until it, and everything before it, is in the store."""
    server.sql("SELECT pg_switch_wal()")
    waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    until(lambda: server.sql(waiting) == "0", "everything is archived")


@pytest.fixture
def cluster(confinement: None, keys: Keys, seaweedfs: S3Server) -> Iterator[Cluster]:
    """db1 is the primary; db2, its standby, is promoted when it dies. db3 was promoted as well,
    by a mistake, and has written the same timeline as db2."""
    prefix = seaweedfs.config(VERSIONED).prefix
    bucket = {
        identity: section(seaweedfs.config(VERSIONED, identity, prefix=prefix))
        for identity in ("writer", "restorer")
    }
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        call = client(directory)

        def host(name: str, key: ThrowAwayKey, source: Path) -> Repository:
            place = directory / name
            wal = f'[wal]\nsocket = {text(place / "s")}\nclients = ["nobody"]\n'
            site = write_repository(
                place,
                keys,
                SERVER + text(source),
                host=name,
                signing=key,
                store=bucket["writer"],
                more=wal,
            )
            stack.enter_context(serving(site.config_file))
            return site

        def command(name: str) -> str:
            return f"{call} push --socket {directory / name / 's'} %p"

        primary = stack.enter_context(archiving(command("db1")))
        db1 = host("db1", keys.host, primary.socket)
        primary.sql("CREATE ROLE replicator LOGIN REPLICATION; CREATE TABLE t (i int)")
        insert(primary, 1, 10)
        made = art32(db1, "backup", "run", "server")
        assert made.returncode == 0, made.stderr
        insert(primary, 11, 20)
        shipped(primary)

        standbys = [stack.enter_context(cloned(primary, command(name))) for name in ("db2", "db3")]
        db2, _ = (
            host(name, keys.other_host, one.socket)
            for name, one in zip(("db2", "db3"), standbys, strict=True)
        )
        refused = art32(db2, "backup", "run", "server")
        primary.run("psql", "-c", "CHECKPOINT")
        for number, standby in enumerate(standbys):
            until(lambda one=standby: one.sql("SELECT count(*) FROM t") == "20", "it has followed")  # type: ignore[misc]
            standby.sql("SELECT pg_promote()")
            insert(standby, 100 * (number + 1), 100 * (number + 1) + 9)
            shipped(standby)
        # nobody has told the old primary
        insert(primary, 21, 30)
        shipped(primary)

        restorer = write_repository(
            directory / "restorer",
            keys,
            "",
            host="restorer",
            signing=keys.other_host,
            signers=[
                *(("db1", keys.host), ("db2", keys.other_host)),
                ("db3", keys.other_host),
            ],
            store=bucket["restorer"],
        )
        targets = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        targets.chmod(0o755)
        yield Cluster(restorer, primary.binaries, targets, refused.stderr)


def test_a_failover_comes_back_by_the_log_of_both_hosts_and_two_primaries_are_never_mixed(
    cluster: Cluster,
) -> None:
    """One test, for what it looks at takes long to make."""
    assert "on a standby only `archive_mode = always` does" in cluster.standby_refused

    done = cluster.restore("both", "--wal-host", "db1", "--wal-host", "db2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cluster.rows("both") == [*range(1, 21), *range(100, 110)]
    assert "goes on as timeline 3" in done.stdout

    # nobody has said whose log it is to be
    done = cluster.restore("alone")
    assert done.returncode == 20, done.stdout + done.stderr
    assert cluster.rows("alone") == list(range(1, 31))
    assert "`db2`, `db3` shipped the log of this cluster too" in done.stdout + done.stderr
    assert "--wal-host db1 --wal-host db2" in done.stdout + done.stderr

    # both of them have written timeline 2
    hosts = ["--wal-host", "db1", "--wal-host", "db2", "--wal-host", "db3"]
    done = cluster.restore("torn", *hosts)
    assert done.returncode == 14, done.stdout + done.stderr
    assert "the archive holds two different files" in done.stderr
    assert "runbook: wal-archiving-failed" in done.stderr
    assert not (cluster.targets / "torn").exists()

    # the key of db3 is pinned for db2 alone, and what it signed stands in the place of db3
    file = cluster.restorer.config_file
    before = file.read_text()
    start = before.index('[[signers]]\nhost = "db3"')
    file.write_text(before[:start] + before[before.index("\n\n", start) :])
    done = cluster.restore("foreign", "--wal-host", "db1", "--wal-host", "db3")
    assert done.returncode == 14, done.stdout + done.stderr
    assert "signed by the key of another host" in done.stderr
    assert not (cluster.targets / "foreign").exists()
