"""MySQL and MariaDB in the conformance suite."""

from __future__ import annotations

import functools
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.config.sources import MySQLSource
from tests.conformance.sources.case import CANARY, Case, wrap_on_path
from tests.fixtures.databases import MariaDBServer

SCHEMA = f"""
    CREATE TABLE `{CANARY}` (id INT PRIMARY KEY, text TEXT) ENGINE=InnoDB;
    INSERT INTO `{CANARY}` SELECT seq, CONCAT('{CANARY}', REPEAT('x', 2000)) FROM seq_1_to_2000;
"""


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    server: MariaDBServer = request.getfixturevalue("mariadb")
    server.sql(
        "CREATE OR REPLACE USER conformer@localhost;GRANT ALL ON `new%`.* TO conformer@localhost"
    )
    source = server.create("conformance", SCHEMA)
    server.create("new_taken", SCHEMA)
    for name in ("new_fresh", "new_taken"):
        request.addfinalizer(functools.partial(server.sql, f"DROP DATABASE IF EXISTS {name}"))
    options = directory / "my.cnf"
    options.write_text("[client]\nuser=root\n")
    options.chmod(0o600)
    config = MySQLSource(
        kind="mysql", name="shop", database=source, socket=server.socket, defaults_file=options
    )

    def address(database: str) -> str:
        return f"mysql:///{database}?socket={server.socket}&user=conformer"

    def content(target: str | None) -> object:
        database = source if target is None else urlsplit(target).path[1:]
        return server.sql(f"SELECT * FROM `{CANARY}` ORDER BY id", database=database)

    def shortened(status: int, patch: pytest.MonkeyPatch) -> MySQLSource:
        wrap_on_path(patch, directory / "wrapper", "mariadb-dump", status=status)
        return config

    return Case(
        kind="mysql",
        config=config,
        missing=config.model_copy(update={"database": "nowhere"}),
        target=address("new_fresh"),
        existing=address("new_taken"),
        content=content,
        traces=server.names,
        dies=lambda patch: shortened(3, patch),
        cut=lambda patch: shortened(0, patch),
    )
