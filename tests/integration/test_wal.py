"""A write-ahead log archived and brought back, with a real PostgreSQL at both ends."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.backup.wal import listing, place
from tests.fixtures.databases import (
    SERVER_USER,
    PostgreSQLServer,
    as_server_user,
    short_directory,
)
from tests.fixtures.keys import Keys
from tests.fixtures.repository import Repository, text, write_repository
from tests.fixtures.waiting import until
from tests.fixtures.wal import archiving, client, recovering, serving

GUARD = "; case $? in 0) ;; 64) exit 1 ;; *) exit 200 ;; esac"


@dataclass
class Site:
    """A host with a server that archives, and the restorer that brings it back."""

    directory: Path
    host: Repository
    restorer: Repository
    call: str

    @property
    def push_socket(self) -> Path:
        return self.directory / "push.sock"

    @property
    def fetch_socket(self) -> Path:
        return self.directory / "fetch.sock"

    @property
    def archive_command(self) -> str:
        return f"{self.call} push --socket {self.push_socket} %p"

    @property
    def restore_command(self) -> str:
        return f"{self.call} fetch --socket {self.fetch_socket} --absent 64 %f %p{GUARD}"

    def stored(self) -> list[str]:
        archive = place.open_archive(self.host.configuration().store)
        return [entry.place.name.text for entry in listing.entries(archive)]


def make_site(directory: Path, keys: Keys, *, store: str | None = None) -> Site:
    def wal(name: str) -> str:
        return f'[wal]\nsocket = {text(directory / name)}\nclients = ["{SERVER_USER}"]\n'

    host = write_repository(directory / "db1", keys, "", store=store, more=wal("push.sock"))
    place_of_store = f'[store]\nkind = "directory"\npath = {text(host.store)}'
    restorer = write_repository(
        directory / "restorer",
        keys,
        "",
        host="restorer",
        signing=keys.other_host,
        signers=[("db1", keys.host)],
        store=store or place_of_store,
        more=wal("fetch.sock") + 'hosts = ["db1"]',
    )
    return Site(directory, host, restorer, client(directory))


def base_backup(server: PostgreSQLServer, target: Path) -> Path:
    """Take one, without the log that it needs: the archive has it."""
    subprocess.run(
        as_server_user(
            [
                *(str(server.binaries / "pg_basebackup"), "--pgdata", str(target)),
                *("--host", str(server.socket), "--username", server.admin),
                *("--wal-method=none", "--checkpoint=fast", "--no-sync"),
            ]
        ),
        check=True,
        cwd="/",
        capture_output=True,
    )
    return target


def switch(server: PostgreSQLServer) -> str:
    """End the segment, wait until the archiver has had it, and return its name."""
    name = server.sql("SELECT pg_walfile_name(pg_switch_wal())")
    until(lambda: server.sql("SELECT last_archived_wal FROM pg_stat_archiver") >= name, name)
    return name


def filled(server: PostgreSQLServer, base: Path) -> int:
    """Make a table, take a base backup, write more; return how many rows there are."""
    server.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    base_backup(server, base)
    for number in range(1, 4):
        server.sql(f"INSERT INTO t SELECT generate_series({number}000, {number}999)")
        switch(server)
    return int(server.sql("SELECT count(*) FROM t"))


def rows(server: PostgreSQLServer) -> int:
    """Wait until a server has ended its recovery and return how many rows it has."""

    def answers() -> bool:
        with contextlib.suppress(AssertionError):
            return server.sql("SELECT pg_is_in_recovery()") == "f"
        return False

    until(answers, "the recovery ends")
    return int(server.sql("SELECT count(*) FROM t"))


@pytest.fixture(scope="module")
def archived(keys: Keys) -> Iterator[tuple[Site, int]]:
    """What a server that is gone has archived, and how many rows it had."""
    with short_directory() as directory:
        site = make_site(directory, keys)
        with serving(site.host.config_file), archiving(site.archive_command) as server:
            count = filled(server, directory / "base")
        yield site, count


def test_all_that_was_archived_comes_back(archived: tuple[Site, int]) -> None:
    site, count = archived
    assert any(name.endswith(".backup") for name in site.stored())
    with (
        serving(site.restorer.config_file) as service,
        recovering(site.directory / "base", {"restore_command": site.restore_command}) as (
            server,
            _,
            log,
        ),
    ):
        assert rows(server) == count == 4000
        assert "archive recovery complete" in log.read_text()
        assert "error" not in service.said()


def test_a_service_that_is_not_there_stops_the_server_and_the_wrong_status_would_lose_rows(
    archived: tuple[Site, int],
) -> None:
    site, count = archived
    last = max(name for name in site.stored() if len(name) == 24)
    nobody = f"{site.call} fetch --socket {site.directory}/nobody %f %p"
    base = site.directory / "base"

    def outcome(failing: str) -> tuple[int | None, str]:
        """Recover with a command that fails for the last segment; return the rows, or None when
        the server stopped, and its log."""
        command = f"if test %f = {last}; then {failing}; else {site.restore_command}; fi"
        with recovering(base, {"restore_command": command}) as (server, child, log):

            def over() -> bool:
                return child.poll() is not None or "recovery complete" in log.read_text()

            until(over, "an end")
            found = None if child.poll() is not None else rows(server)
            return found, log.read_text()

    with serving(site.restorer.config_file):
        found, log = outcome(nobody)
        assert found is None
        assert "exit code 200" in log
        # an interpreter that does not start ends with 1, which the line of the guide tells apart
        broken = site.restore_command.replace("PYTHONPATH=", "PYTHONHOME=/nowhere PYTHONPATH=")
        assert outcome(broken)[0] is None
        # the same failure as status 1: no error at all, and rows are gone
        found, log = outcome(f"{nobody} || exit 1")
        assert found is not None
        assert found < count
        assert "FATAL" not in log.replace("FATAL:  the database system is starting up", "")
        assert outcome(site.restore_command)[0] == count
