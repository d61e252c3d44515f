"""Dumping PostgreSQL, against real servers of the tests' own."""

from __future__ import annotations

from typing import Any

from agent.backup.sources import DumpReport
from agent.backup.sources import postgresql as plugin
from agent.config.sources import PostgreSQLSource
from tests.fixtures.databases import PostgreSQLServer

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
