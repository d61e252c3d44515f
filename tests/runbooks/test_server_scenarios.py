"""Runbooks about a PostgreSQL server: lost, archiving nothing, reached by TLS and a password."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures import wal
from tests.fixtures.databases import (
    PASSWORD,
    SERVER_USER,
    PostgreSQLServer,
    give,
    postgresql_server,
    short_directory,
)
from tests.fixtures.keys import Keys
from tests.fixtures.repository import MakeRepository, text, write_repository
from tests.fixtures.waiting import until
from tests.runbooks.world import BIN, World

SHOP = """
    CREATE TABLE orders (id int PRIMARY KEY, total int NOT NULL);
    INSERT INTO orders SELECT i, i * 7 FROM generate_series(1, 500) i;
    CREATE INDEX by_total ON orders (total);
"""
PROBE = "SELECT count(*) = 500 AND sum(total) = 876750 FROM orders"


def test_a_server_that_is_gone_is_built_anew_from_its_backup(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    """Its processes are killed and its data directory goes; a person has made a new, empty one."""
    with postgresql_server() as lost:
        lost.create("shop", SHOP)
        site = make_repository(
            '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
            f"host = {text(lost.socket)}\nuser = {text(lost.admin)}"
        )
        site.back_up("app")
        values = {
            "SOURCE": "app",
            "BACKUP_HOST": site.host,
            "DATABASE": "shop",
            "SOCKET": str(lost.socket),
            "PORT": str(lost.port),
            "ROLE": "restorer",
            "ADMIN": lost.admin,
            "PROBE": PROBE,
        }
        world = World(tmp_path, site, values, [str(lost.binaries)])
        done = world.follow("database-host-lost", purpose="verify")
        assert done.returncode == 0, done.stdout + done.stderr
        data = lost.socket / "data"
        os.kill(int((data / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
        until(lambda: not working_in(data), "the end of the server's other processes")
        shutil.rmtree(data)
        assert not world.verified("database-host-lost")
        assert world.art32("backup", "run", "app").returncode == 15  # and nothing was overwritten
        with postgresql_server() as new:
            new.sql("CREATE ROLE restorer LOGIN CREATEDB")
            world.values["SOCKET"] = str(new.socket)
            done = world.mends("database-host-lost")
            assert new.sql("SELECT count(*) FROM orders", database="shop") == "500"
            # the program's steps and the keeper's are a person's
            assert "not done, by hand or at all: step" in done.stderr + done.stdout


def working_in(directory: Path) -> list[Path]:
    """Return the processes whose working directory this is, as a server's are in its data."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == directory:
                found.append(process)
    return found


@dataclass
class Archiving:
    """A server that archives to a service which does not run, and the host's world."""

    server: PostgreSQLServer
    world: World
    pid: Path

    def waiting(self) -> int:
        ready = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        return int(self.server.sql(ready))

    def stored(self) -> int:
        return len(list((self.world.site.store / "wal").rglob("0*-*.pgp")))


@pytest.fixture
def archiving(keys: Keys, tmp_path: Path) -> Iterator[Archiving]:
    with short_directory() as directory:
        directory.chmod(0o755)
        socket = directory / "wal.sock"
        site = write_repository(
            directory / "db1",
            keys,
            "",
            more=f"[wal]\nsocket = {text(socket)}\nclients = [{text(SERVER_USER)}]\n",
        )
        command = f"{wal.client(directory)} push --socket {socket} %p"
        settings = {
            "archive_mode": "on",
            "archive_command": command,
            "wal_level": "replica",
        }
        with postgresql_server(more=settings) as server:
            where = f"host={server.socket} port={server.port} user={server.admin} dbname=postgres"
            world = World(tmp_path, site, {"PGDATABASE": where}, [str(server.binaries)])
            one = Archiving(server, world, tmp_path / "pid")
            yield one
            if one.pid.exists():
                os.kill(int(one.pid.read_text()), signal.SIGKILL)


def test_an_archive_that_has_stopped_takes_every_segment_again(archiving: Archiving) -> None:
    server, world = archiving.server, archiving.world
    log = archiving.pid.with_name("service")
    world.tool(
        "systemctl",
        f'test "$*" = "restart art32-wal.socket art32-wal.service"\n'
        f"setsid {BIN}/art32 wal serve >{log} 2>&1 </dev/null &\n"
        f"echo $! >{archiving.pid}\n"
        f"until grep -q serves {log}; do sleep 0.1; kill -0 $(cat {archiving.pid}); done",
    )
    world.tool("journalctl", f"cat {log}")
    server.sql("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
    for _ in range(3):
        server.sql("SELECT txid_current(); SELECT pg_switch_wal()")
    failed = "SELECT failed_count FROM pg_stat_archiver"
    until(lambda: int(server.sql(failed)) > 0, "a segment is refused")
    waiting = archiving.waiting()
    assert waiting >= 3
    assert archiving.stored() == 0
    # the page waits for it: a person would see this red for as long
    quick = world.shell(
        f'psql -X "{world.values["PGDATABASE"]}" -A -t -c "SHOW archive_command"', world.directory
    )
    assert "push --socket" in quick
    done = world.follow("wal-archiving-failed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert archiving.waiting() == 0
    assert archiving.stored() >= waiting
    world.undoes("wal-archiving-failed")
    assert world.verified("wal-archiving-failed")


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[tuple[PostgreSQLServer, Path]]:
    """A server as RDS is one: TLS and a password over TCP, an administrator without the superuser's
    rights, who may make databases and roles. Yields it and its file of authorities."""
    if os.geteuid() != 0:
        pytest.skip("the page has another user feed the server, which root alone can")
    with short_directory() as directory:
        authorities = directory / "authorities.pem"
        key = directory / "key.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
                *("ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)),
                *("-out", str(authorities)),
            ],
            check=True,
            capture_output=True,
        )
        key.chmod(0o600)
        authorities.chmod(0o644)
        hba = directory / "hba"
        hba.write_text(
            "local all all trust\nhostssl all all all scram-sha-256\nhost all all all reject\n"
        )
        for path in (key, authorities, hba):
            give(path)
        settings = {
            "ssl": "on",
            "ssl_cert_file": str(authorities),
            "ssl_key_file": str(key),
            "hba_file": str(hba),
        }
        with postgresql_server(tcp=True, more=settings) as server:
            server.sql(
                "CREATE ROLE rds_superuser; GRANT pg_signal_backend TO rds_superuser;"
                "CREATE ROLE art32_admin LOGIN CREATEDB CREATEROLE IN ROLE rds_superuser"
                f" PASSWORD '{PASSWORD}'; CREATE ROLE app LOGIN; GRANT app TO art32_admin"
            )
            yield server, authorities


def test_a_backup_is_poured_into_a_managed_database(
    managed: tuple[PostgreSQLServer, Path], make_repository: MakeRepository, tmp_path: Path
) -> None:
    server, authorities = managed
    server.create(
        "shop",
        SHOP + "CREATE EXTENSION pgcrypto; ALTER TABLE orders OWNER TO app;"
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1' SECURITY DEFINER;"
        "GRANT SELECT ON orders TO art32_admin; CREATE VIEW v AS SELECT * FROM orders;"
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY all_rows ON orders TO app USING (true)",
        options="OWNER app",
    )
    site = make_repository(
        '[[sources]]\nname = "app"\nkind = "postgresql"\ndatabase = "shop"\n'
        f"host = {text(server.socket)}\nport = {server.port}\nuser = {text(server.admin)}"
    )
    site.back_up("app")
    server.sql("DELETE FROM orders WHERE id > 100", database="shop")
    secret = authorities.with_name("pgpass")
    secret.write_text(f"localhost:{server.port}:*:art32_admin:{PASSWORD}\n")
    secret.chmod(0o600)
    give(secret)
    values = {
        "SOURCE": "app",
        "BACKUP_HOST": site.host,
        "DATABASE": "shop",
        "ADDRESS": "localhost",
        "PORT": str(server.port),
        "ADMIN": "art32_admin",
        "OWNER": "app",
        "AUTHORITIES": str(authorities),
        "PASSWORD_FILE": str(secret),
        "ENGINE_USER": SERVER_USER,
        "PROBE": PROBE,
    }
    world = World(tmp_path, site, values, [str(server.binaries)])
    done = world.mends("restore-managed-database")
    assert PASSWORD not in done.stdout + done.stderr
    owners = (
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('orders', 'v')"
    )
    assert server.sql(owners, database="shop") == "app"
    assert {"shop", "shop_broken"} <= server.names()
    world.undoes("restore-managed-database")
    assert server.sql("SELECT count(*) FROM orders", database="shop") == "100"
    # a certificate of another authority: not one byte goes there
    stranger = authorities.with_name("stranger.pem")
    shutil.copy(authorities, stranger)
    stranger.write_text((Path("/etc/ssl/certs") / "ca-certificates.crt").read_text())
    stranger.chmod(0o644)
    world.values["AUTHORITIES"] = str(stranger)
    done = world.follow("restore-managed-database")
    assert done.returncode == 14
    assert "certificate verify failed" in done.stdout + done.stderr
