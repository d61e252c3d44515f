"""PostgreSQL in the conformance suite."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.config.sources import PostgreSQLSource
from tests.conformance.sources.case import CANARY, Case, wrap
from tests.fixtures.databases import PostgreSQLServer

SCHEMA = f"""
    CREATE TABLE "{CANARY}" (id int PRIMARY KEY, text text);
    INSERT INTO "{CANARY}" SELECT i, '{CANARY}' || repeat('x', 2000)
        FROM generate_series(1, 2000) i;
"""


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    server: PostgreSQLServer = request.getfixturevalue("postgresql")
    server.sql("DROP ROLE IF EXISTS conformer; CREATE ROLE conformer LOGIN CREATEDB")
    source = server.create("conformance", SCHEMA)
    server.create("taken", SCHEMA)
    request.addfinalizer(lambda: server.sql("DROP DATABASE IF EXISTS fresh WITH (FORCE)"))
    request.addfinalizer(lambda: server.sql("DROP DATABASE taken"))
    config = PostgreSQLSource(
        kind="postgresql",
        name="app",
        database=source,
        host=str(server.socket),
        port=server.port,
        user=server.admin,
    )

    def address(database: str) -> str:
        return f"postgresql:///{database}?host={server.socket}&port={server.port}&user=conformer"

    def content(target: str | None) -> object:
        database = source if target is None else urlsplit(target).path[1:]
        return server.sql(f'SELECT * FROM "{CANARY}" ORDER BY id', database=database)

    def dying() -> PostgreSQLSource:
        binaries = directory / "binaries"
        wrap(binaries, str(server.binaries / "pg_dump"), status=3)
        for program in ("psql", "pg_restore", "pg_dumpall"):
            (binaries / program).symlink_to(server.binaries / program)
        return config.model_copy(update={"binaries": binaries})

    return Case(
        kind="postgresql",
        config=config,
        missing=config.model_copy(update={"database": "nowhere"}),
        target=address("fresh"),
        existing=address("taken"),
        content=content,
        traces=server.names,
        dies=lambda patch: dying(),
    )
