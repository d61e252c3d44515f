"""The demo's SQLite database: used where no PostgreSQL server is installed."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from demo.data import Table, tables
from demo.database import Download, compare_lists, compare_rows, quoted
from demo.terminal import DemoError, Report, running


@dataclass(frozen=True)
class SQLite:
    """A database file `shop.db`, with restored ones in the directory `restored` beside it."""

    directory: Path
    confined = False

    @property
    def name(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    @property
    def _original(self) -> Path:
        return self.directory / "shop.db"

    def section(self) -> str:
        return f'[[sources]]\nname = "shop"\nkind = "sqlite"\npath = {quoted(self._original)}\n'

    def fill(self, scale: float) -> int:
        with contextlib.closing(sqlite3.connect(self._original)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            with connection:
                for table in tables():
                    _create(connection, table, scale)
        return self._original.stat().st_size

    def target(self, name: str) -> str:
        return str(self.directory / "restored" / f"{name}.db")

    def restore_by_hand(self, report: Report, download: Download, name: str) -> None:
        target = Path(self.target(name))
        partial = target.with_suffix(".partial")
        report.show(
            f"{download.shown} > {shlex.quote(str(partial))} && "
            f"mv {shlex.quote(str(partial))} {shlex.quote(str(target))}"
        )
        with (
            partial.open("xb") as file,
            running(download.argv, stdin=subprocess.DEVNULL, stdout=file.fileno()) as script,
        ):
            if script.wait() != 0:
                raise DemoError("the restore with stock tools failed")
        partial.rename(target)

    def compare(self, name: str) -> list[tuple[str, int]]:
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(_reading(self._original))
            other = stack.enter_context(_reading(Path(self.target(name))))
            compare_lists("the schemas", _schema(one), _schema(other))
            found = []
            for table in tables():
                query = f"SELECT * FROM {table.name} ORDER BY id"  # noqa: S608 - our own name
                rows = compare_rows(table.name, one.execute(query), other.execute(query))
                found.append((table.name, rows))
            return found


def _create(connection: sqlite3.Connection, table: Table, scale: float) -> None:
    columns = ", ".join(f"{name} {kind}" for name, _, kind in table.columns)
    if table.reference:
        columns += ", FOREIGN KEY ({}) REFERENCES {} (id)".format(*table.reference)
    connection.execute(f"CREATE TABLE {table.name} ({columns})")
    marks = ", ".join("?" for _ in table.columns)
    insert = f"INSERT INTO {table.name} VALUES ({marks})"  # noqa: S608 - our own names
    connection.executemany(insert, table.rows(scale))
    if table.reference:
        connection.execute(f"CREATE INDEX {table.name}_by ON {table.name} ({table.reference[0]})")


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(
        sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    ) as connection:
        yield connection


def _schema(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    return [str(sql) for (sql,) in rows]
