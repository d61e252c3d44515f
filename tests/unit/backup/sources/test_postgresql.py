"""Dumping PostgreSQL, against real servers of the tests' own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from agent import run
from agent.backup.sources import DumpReport, _postgresql_client
from agent.backup.sources import postgresql as plugin
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code
from tests.fixtures.databases import PASSWORD, PostgreSQLServer, postgresql_binaries

ODD_NAME = 'a=b "c" é'
SCHEMA = """
    CREATE TABLE person (id int PRIMARY KEY, name text);
    INSERT INTO person SELECT i, 'name ' || i FROM generate_series(1, 500) i;
    CREATE SCHEMA "Odd.schema";
    CREATE TABLE "Odd.schema"."a ""quoted"" table" (a int);
    INSERT INTO "Odd.schema"."a ""quoted"" table" VALUES (1), (2);
    CREATE TABLE child () INHERITS (person);
    INSERT INTO child VALUES (1000, 'child');
    CREATE TABLE parted (a int) PARTITION BY RANGE (a);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100);
    INSERT INTO parted SELECT generate_series(1, 50);
"""


def source(server: PostgreSQLServer, database: str | None, **settings: Any) -> PostgreSQLSource:
    return PostgreSQLSource(
        kind="postgresql",
        name="app",
        database=database,
        host="127.0.0.1" if server.tcp else str(server.socket),
        port=server.port,
        user=settings.pop("user", "admin"),
        **settings,
    )


def dumped(config: PostgreSQLSource, member: str = "") -> tuple[bytes, DumpReport]:
    with plugin.dump(config, member) as running:
        data = b"".join(iter(running.read, b""))
        return data, running.finish()


def test_a_dump_is_a_custom_archive_without_its_own_compression(
    postgresql: PostgreSQLServer,
) -> None:
    name = postgresql.create("app", SCHEMA)
    data, report = dumped(source(postgresql, name))
    assert data.startswith(b"PGDMP")
    assert b"499\tname 499\n" in data
    assert report.facts["format"] == "postgresql-custom"
    assert report.facts["contents_entries"] > 10


def test_rows_of_every_table_and_partition_are_counted_once(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create(ODD_NAME, SCHEMA)
    _, report = dumped(source(postgresql, name))
    assert report.rows == {
        "public.person": 500,
        'Odd.schema.a "quoted" table': 2,
        "public.child": 1,
        "public.part": 50,
    }
    assert report.facts["database"] == ODD_NAME


def test_the_facts_identify_the_server_and_the_moment(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create("app", SCHEMA)
    _, report = dumped(source(postgresql, name))
    identifier = postgresql.sql("SELECT system_identifier FROM pg_control_system()")
    assert report.facts["system_identifier"] == identifier
    assert report.facts["encoding"] == "UTF8"
    assert report.facts["collation"] == "C.UTF-8"
    assert "/" in report.facts["snapshot_lsn"]
    assert report.facts["snapshot_time"].endswith("+00:00")


def test_rows_written_after_the_snapshot_are_neither_dumped_nor_counted(
    postgresql: PostgreSQLServer,
) -> None:
    name = postgresql.create("app", "CREATE TABLE t (a text); INSERT INTO t VALUES ('before')")
    with plugin.dump(source(postgresql, name), "") as running:
        postgresql.sql("INSERT INTO t VALUES ('after')", database=name)
        data = b"".join(iter(running.read, b""))
        report = running.finish()
    assert b"before" in data
    assert b"after" not in data
    assert report.rows == {"public.t": 1}


def test_a_dump_does_not_wait_for_ever_behind_a_lock(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create("app", "CREATE TABLE t (a text)")
    config = source(postgresql, name).model_copy(update={"lock_wait_seconds": 1})
    hold = "BEGIN; LOCK TABLE t; SELECT pg_sleep(300);"
    with run.Process(
        [str(postgresql.binaries / "psql"), "-X", "-q", "-c", hold],
        stdout=run.DEVNULL,
        extra_environment=postgresql._environment(None, name),
    ):
        locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
        while postgresql.sql(f"{locks} AND relation = 't'::regclass", database=name) != "1":
            pass
        with pytest.raises(Art32Error) as caught:
            dumped(config)
    assert caught.value.code is Code.SOURCE_FAILED
    assert "locked for too long" in caught.value.sentence
    assert "lock_wait_seconds" in str(caught.value.hint)


def test_all_databases_and_the_roles_are_members_of_a_set(postgresql: PostgreSQLServer) -> None:
    postgresql.create("globals:", "CREATE TABLE t (a int)")
    postgresql.create(ODD_NAME)
    config = source(postgresql, None)
    members = plugin.members(config)
    assert members[0] == "globals:"
    assert {"database:globals:", f"database:{ODD_NAME}", "database:postgres"} <= set(members)
    assert not any("template" in member for member in members)
    data, report = dumped(config, "globals:")
    assert b"CREATE ROLE admin" in data
    assert b"PASSWORD" not in data
    assert report.facts["role_passwords"] == "left out"
    assert dumped(config, "database:globals:")[1].facts["database"] == "globals:"


def test_no_rows_are_counted_above_the_size_limit(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create("app", SCHEMA)
    assert dumped(source(postgresql, name, row_counts_up_to=0))[1].rows is None
    assert dumped(source(postgresql, name, row_counts_up_to=1000))[1].rows is None


def pgpass(directory: Path, text: str = f"*:*:*:*:{PASSWORD}\n", mode: int = 0o600) -> Path:
    path = directory / "pgpass"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_password_comes_from_a_file_over_tcp(
    postgresql_tcp: PostgreSQLServer, tmp_path: Path
) -> None:
    name = postgresql_tcp.create("app", SCHEMA)
    config = source(postgresql_tcp, name, password_file=pgpass(tmp_path))
    plugin.probe(config)
    rows = dumped(config)[1].rows
    assert rows is not None
    assert rows["public.person"] == 500


def refusal(config: PostgreSQLSource) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        plugin.probe(config)
    with pytest.raises(Art32Error) as again:
        dumped(config)
    assert again.value.code is caught.value.code
    assert PASSWORD not in caught.value.sentence
    return caught.value


def test_a_password_file_open_to_others_is_refused(
    postgresql_tcp: PostgreSQLServer, tmp_path: Path
) -> None:
    path = pgpass(tmp_path, mode=0o640)
    error = refusal(source(postgresql_tcp, "postgres", password_file=path))
    assert error.code is Code.PERMISSION
    assert "chmod 0600" in (error.hint or "")


def test_a_wrong_password_is_an_error_with_a_hint(
    postgresql_tcp: PostgreSQLServer, tmp_path: Path
) -> None:
    path = pgpass(tmp_path, "*:*:*:*:wrong\n")
    error = refusal(source(postgresql_tcp, "postgres", password_file=path))
    assert error.code is Code.SOURCE_FAILED
    assert "password_file" in (error.hint or "")


def test_a_server_without_verified_tls_is_refused_where_that_is_asked_for(
    postgresql_tcp: PostgreSQLServer, tmp_path: Path
) -> None:
    settings = {"password_file": pgpass(tmp_path), "ssl_mode": "verify-full"}
    error = refusal(source(postgresql_tcp, "postgres", **settings))
    assert error.code is Code.SOURCE_FAILED
    assert "TLS" in error.sentence


def test_tls_is_verified_by_default_except_on_sockets_and_loopback() -> None:
    def mode(host: str | None) -> str | None:
        config = PostgreSQLSource(kind="postgresql", name="app", host=host)
        return _postgresql_client.environment(config, "x").get("PGSSLMODE")

    assert mode("db.internal") == "verify-full"
    assert mode("10.0.0.1") == "verify-full"
    assert [mode(host) for host in (None, "/run/x", "localhost", "127.0.0.1", "::1")] == [None] * 5


def test_a_missing_database_and_a_missing_server_are_missing_sources(
    postgresql: PostgreSQLServer, tmp_path: Path
) -> None:
    assert refusal(source(postgresql, "absent")).code is Code.SOURCE_MISSING
    nowhere = PostgreSQLSource(kind="postgresql", name="app", database="x", host=str(tmp_path))
    assert refusal(nowhere).code is Code.SOURCE_MISSING


def test_a_role_that_may_not_read_a_table_makes_no_backup(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create("app", SCHEMA)
    postgresql.sql("DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN")
    with pytest.raises(Art32Error) as caught:
        dumped(source(postgresql, name, user="blind"))
    assert caught.value.code is Code.SOURCE_FAILED
    assert "pg_read_all_data" in (caught.value.hint or "")


def test_a_reader_of_all_data_is_enough_for_a_dump(postgresql: PostgreSQLServer) -> None:
    name = postgresql.create("app", SCHEMA)
    postgresql.sql(
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader"
    )
    data, report = dumped(source(postgresql, name, user="reader"))
    assert data.startswith(b"PGDMP")
    assert report.rows is not None


def fake_programs(directory: Path, pg_dump: str) -> Path:
    """Return a directory with the real client programs and a `pg_dump` that is this script."""
    binaries = postgresql_binaries()
    assert binaries is not None
    for program in ("psql", "pg_restore", "pg_dumpall"):
        (directory / program).symlink_to(binaries / program)
    script = directory / "pg_dump"
    script.write_text(
        f'#!/bin/sh\n[ "$1" != --version ] || exec {binaries}/pg_dump "$@"\n{pg_dump}'
    )
    script.chmod(0o755)
    return directory


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('"$REAL" "$@" | head -c 9000; exit 1', Code.SOURCE_FAILED),
        ('"$REAL" "$@"; kill -9 $$', Code.SOURCE_FAILED),
        ('"$REAL" "$@" --exclude-table-data=person', Code.SOURCE_INCOMPLETE),
        ('"$REAL" "$@" | head -c 300', Code.SOURCE_INCOMPLETE),
        ("echo not a dump", Code.SOURCE_INCOMPLETE),
        ("exit 0", Code.SOURCE_INCOMPLETE),
    ],
)
def test_a_dump_that_is_not_whole_is_an_error(
    postgresql: PostgreSQLServer, tmp_path: Path, script: str, code: Code
) -> None:
    name = postgresql.create("app", SCHEMA)
    real = str(postgresql.binaries / "pg_dump")
    binaries = fake_programs(tmp_path, script.replace('"$REAL"', real))
    with pytest.raises(Art32Error) as caught:
        dumped(source(postgresql, name, binaries=binaries))
    assert caught.value.code is code


def test_a_pg_dump_older_than_the_server_is_refused(
    postgresql: PostgreSQLServer, tmp_path: Path
) -> None:
    binaries = fake_programs(tmp_path, "exit 1")
    (binaries / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    error = refusal(source(postgresql, "postgres", binaries=binaries))
    assert error.code is Code.SOURCE_FAILED
    assert "postgresql-client-" in (error.hint or "")


def test_the_password_is_in_no_argument_and_no_environment(
    postgresql_tcp: PostgreSQLServer, tmp_path: Path
) -> None:
    name = postgresql_tcp.create("app", SCHEMA)
    path = pgpass(tmp_path)
    seen = b""
    with plugin.dump(source(postgresql_tcp, name, password_file=path), "") as running:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                seen += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        while running.read():
            pass
        running.finish()
    assert f"PGPASSFILE={path}".encode() in seen
    assert PASSWORD.encode() not in seen
