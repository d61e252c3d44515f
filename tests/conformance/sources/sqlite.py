"""SQLite in the conformance suite."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from agent.config.sources import SQLiteSource
from tests.conformance.sources.case import CANARY, Case, names_below


def make(directory: Path, request: pytest.FixtureRequest) -> Case:
    path = directory / "app.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f'CREATE TABLE "{CANARY}" (id INTEGER PRIMARY KEY, text TEXT)')
        rows = ((CANARY + "x" * 2000,) for _ in range(2000))
        connection.executemany(f'INSERT INTO "{CANARY}" (text) VALUES (?)', rows)
    (directory / "existing.db").write_bytes(path.read_bytes())
    config = SQLiteSource(kind="sqlite", name="app", path=path)

    def content(target: str | None) -> object:
        with contextlib.closing(sqlite3.connect(target or path)) as connection:
            return list(connection.iterdump())

    return Case(
        kind="sqlite",
        config=config,
        missing=config.model_copy(update={"path": directory / "nowhere.db"}),
        target=str(directory / "target.db"),
        existing=str(directory / "existing.db"),
        content=content,
        traces=lambda: names_below(directory),
    )
