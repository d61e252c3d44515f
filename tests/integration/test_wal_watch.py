"""Who watches the write-ahead log: doctor, health, verify and prune, with a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.backup.checkup import Finding
from agent.backup.wal import checkup, health, listing, place
from agent.backup.wal.listing import Entry
from agent.config.load import load
from tests.fixtures.databases import PostgreSQLServer, short_directory
from tests.fixtures.keys import Keys
from tests.fixtures.recovery import SERVER
from tests.fixtures.repository import Repository, text, write_repository
from tests.fixtures.waiting import until
from tests.fixtures.wal import archiving, client, serving

DAY = 24 * 3600.0


@dataclass
class Host:
    """A server, and the configuration of its host, which may read its own store, too."""

    server: PostgreSQLServer
    site: Repository
    command: str

    def art32(self, *words: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "agent", "--config", str(config or self.site.config_file)]
        return subprocess.run(
            [*argv, *words], capture_output=True, text=True, check=False, timeout=300
        )

    def doctor(self, config: Path | None = None) -> dict[str, list[Finding]]:
        """Return what doctor finds about the socket and the archiver."""
        found: dict[str, list[Finding]] = {"wal socket": [], "wal archiver": []}
        for one in checkup.examine(load(config or self.site.config_file)):
            found[one.subject].append(one)
        return found

    def health(self) -> dict[str, dict[str, Any]]:
        done = self.art32("--output", "json", "health", "wal")
        return {one["name"]: one for one in json.loads(done.stdout)["data"]}

    def ship(self) -> str:
        """End the segment, wait until it is in the store, and return its name."""
        name = self.server.sql("SELECT txid_current(); SELECT pg_walfile_name(pg_switch_wal())")
        last = name.split("\n")[-1]
        waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        until(lambda: self.server.sql(waiting) == "0", "everything is archived")
        return last

    def entries(self) -> list[Entry]:
        return list(listing.entries(place.open_archive(self.site.configuration().store)))

    def changed(self, name: str, old: str, new: str) -> Path:
        """Write another configuration beside that of the host."""
        path = self.site.config_file.with_name(f"{name}.toml")
        before = self.site.config_file.read_text()
        assert old in before
        path.write_text(before.replace(old, new))
        return path


@pytest.fixture(scope="module")
def host(keys: Keys) -> Iterator[Host]:
    with short_directory() as directory:
        command = f"{client(directory)} push --socket {directory / 'db1' / 's'} %p"
        with archiving(command, archive_timeout="30s") as server:
            server.sql(
                "CREATE ROLE replicator LOGIN REPLICATION; CREATE ROLE watcher LOGIN;"
                "GRANT pg_monitor TO watcher"
            )
            sources = f"""{SERVER}{text(server.socket)}
[[sources]]
name = "app"
kind = "postgresql"
database = "postgres"
host = {text(server.socket)}
user = "watcher"
"""
            wal = f'[wal]\nsocket = {text(directory / "db1" / "s")}\nclients = ["nobody"]\n'
            site = write_repository(
                directory / "db1", keys, sources, more=wal + 'source = "app"\nfail_seconds = 2\n'
            )
            yield Host(server, site, command)


def test_a_service_that_does_not_run_is_seen_and_what_waits_for_it(host: Host) -> None:
    host.server.sql("SELECT txid_current(); SELECT pg_switch_wal()")
    (socket,) = host.doctor()["wal socket"]
    assert socket.good is False
    assert "is not there: the service does not run" in socket.detail

    def oldest() -> float:
        found = health.standing(host.site.configuration())
        assert found is not None
        return found.oldest

    until(lambda: oldest() > 2, "the oldest has waited for 2 s")
    found = host.health()
    assert found["wal:archiver"]["state"] == "fail"
    assert "segments wait, the oldest for" in found["wal:archiver"]["detail"]
    assert found["wal:service"]["state"] == "warn"
    assert "it has shipped nothing" in found["wal:service"]["detail"]
    with serving(host.site.config_file):
        host.server.sql("SELECT pg_reload_conf()")  # and PostgreSQL tries at once
        host.ship()
        found = host.health()
        assert {one["state"] for one in found.values()} == {"ok"}
        assert found["wal:size"]["value"] >= 16 << 20
        assert found["wal:service"]["detail"].startswith("shipped `0000000100000000000000")


def test_doctor_asks_the_service_and_the_server(host: Host) -> None:
    with serving(host.site.config_file) as service:
        found = host.doctor()
        assert [one.good for one in found["wal socket"]] == [True]
        (archiver,) = found["wal archiver"]
        assert archiver.good
        assert "`archive_timeout` is 30 s" in archiver.detail
        said = host.art32("doctor", "--no-probe").stdout
        assert archiver.detail in said
        assert found["wal socket"][0].detail in said

        nobody = host.doctor(host.changed("unasked", 'source = "app"\n', ""))
        assert [one.good for one in nobody["wal archiver"]] == [None]
        unknown = host.doctor(host.changed("unknown", '["nobody"]', '["no-such-user"]'))
        assert "there is no user `no-such-user`" in unknown["wal socket"][-1].detail

        settings = host.site.configuration().wal
        assert settings is not None
        if os.geteuid() == 0:  # else the server runs as this user, who is let in
            settings.socket.chmod(0o600)
            refused = host.doctor()["wal socket"][-1]
            settings.socket.chmod(0o666)
            assert refused.good is False
            assert "the user `nobody` cannot connect to it" in refused.detail
        service.child.kill()
        service.child.wait()
    (stale,) = host.doctor()["wal socket"]
    assert stale.good is False
    assert "is stale: nobody listens on it" in stale.detail


@pytest.mark.parametrize(
    ("fixture", "detail"),
    [
        ("postgresql", "`archive_mode` is `off`"),
        ("archiving_postgresql", "`archive_command` is not `art32 wal push %p`"),
    ],
)
def test_a_server_that_does_not_archive_by_art32_is_seen(
    host: Host, fixture: str, detail: str, request: pytest.FixtureRequest
) -> None:
    other: PostgreSQLServer = request.getfixturevalue(fixture)
    told = host.changed("told", 'user = "watcher"', 'user = "admin"')
    told.write_text(told.read_text().replace(text(host.server.socket), text(other.socket)))
    (found,) = host.doctor(told)["wal archiver"]
    assert (found.good, found.detail) == (False, detail)


def test_deep_verification_opens_the_log_and_prune_keeps_what_a_kept_base_backup_needs(
    host: Host,
) -> None:
    with serving(host.site.config_file):
        host.ship()
        host.site.back_up("server")
        host.ship()
        middle = len(host.entries())
        host.site.back_up("server")
        host.ship()
    done = host.art32("backup", "verify", "--tier", "decrypt")
    assert done.returncode in (0, 20), done.stdout + done.stderr
    assert "files decrypt, each is signed for its place" in done.stdout

    spoilt = max(
        (one for one in host.entries() if len(one.place.name.text) == 24),
        key=lambda one: one.place.name.text,
    )
    path = host.site.store / "wal" / spoilt.object_name
    good = path.read_bytes()
    data = bytearray(good)
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = host.art32("backup", "verify", "--tier", "decrypt")
    assert done.returncode == 14
    assert f"{spoilt.object_name}` does not decrypt" in done.stdout
    assert host.art32("backup", "verify").returncode in (0, 20)
    path.write_bytes(good)

    first, second = host.site.backup_directories("server")
    forty = time.time() - 40 * DAY
    for file in [path, *first.iterdir(), *(host.site.store / "wal").rglob("*.pgp")]:
        os.utime(file, (forty, forty))
    config = host.changed(
        "keeping", "[restore]", "[retention]\ndays = 30\nminimum_backups = 1\n[restore]"
    )
    names = [one.place.name.text for one in host.entries()]
    plan = host.art32("backup", "prune", config=config)
    assert plan.returncode in (0, 20), plan.stdout + plan.stderr
    assert [one.place.name.text for one in host.entries()] == names
    done = host.art32("backup", "prune", "--apply", config=config)
    assert done.returncode in (0, 20), done.stdout + done.stderr
    assert host.site.backup_directories("server") == [second]
    kept = host.entries()
    assert len(kept) < len(names)
    assert f"{len(names) - len(kept)} files are gone, 0 locked" in done.stdout
    # what the base backup that is left begins with is there, and nothing from before it
    done = host.art32("backup", "verify", config=config)
    assert done.returncode in (0, 20), done.stdout + done.stderr
    assert middle > 0
