"""Base backups of PostgreSQL in the conformance suite: the files, without following the log."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.config.sources import BaseBackupSource
from tests.conformance.sources.case import CANARY, Case, names_below, wrap
from tests.fixtures.databases import PostgreSQLServer


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    server: PostgreSQLServer = request.getfixturevalue("archiving_postgresql")
    source = server.create(
        "conformance",
        f"CREATE TABLE \"{CANARY}\" AS SELECT '{CANARY}' || i FROM generate_series(1, 5000) i",
    )
    server.sql("CHECKPOINT")
    relation = server.sql(f"SELECT pg_relation_filepath('\"{CANARY}\"')", database=source)
    config = BaseBackupSource(
        kind="basebackup", name="server", host=str(server.socket), user="replicator"
    )
    targets = directory / "targets"
    targets.mkdir()
    (targets / "taken").mkdir()

    def content(target: str | None) -> object:
        data = Path(target) if target is not None else server.socket / "data"
        path = data / relation
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    def cut_short(status: int) -> BaseBackupSource:
        binaries = directory / f"binaries-{status}"
        wrap(binaries, str(server.binaries / "pg_basebackup"), status=status)
        (binaries / "psql").symlink_to(server.binaries / "psql")
        return config.model_copy(update={"binaries": binaries})

    version = server.sql("SHOW server_version_num")
    assert version
    return Case(
        kind="basebackup",
        config=config,
        missing=config.model_copy(update={"host": str(directory)}),
        target=str(targets / "fresh"),
        existing=str(targets / "taken"),
        content=content,
        traces=lambda: names_below(targets),
        dies=lambda patch: cut_short(3),
        cut=lambda patch: cut_short(0),
    )
