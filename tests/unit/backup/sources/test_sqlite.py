"""SQLite sources, with real files, live writers and kills."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agent.backup.sources import DumpReport, RestoreRequest
from agent.backup.sources import sqlite as plugin
from agent.config.sources import SQLiteSource
from agent.errors import Art32Error, Code
from tests.fixtures.own import open_files


def database(path: Path, *, mode: str = "DELETE", rows: int = 1000) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA user_version=7")
        connection.execute('CREATE TABLE "a ""table""" (id INTEGER PRIMARY KEY, text TEXT)')
        connection.executemany(
            'INSERT INTO "a ""table""" (text) VALUES (?)', (("row " * 20,) for _ in range(rows))
        )
        connection.execute("CREATE TABLE pair (a PRIMARY KEY, b) WITHOUT ROWID")
        connection.execute("INSERT INTO pair VALUES (1, 2)")
    return path


def source(path: Path, **settings: int) -> SQLiteSource:
    return SQLiteSource(kind="sqlite", name="app", path=path, **settings)


def dumped(config: SQLiteSource) -> tuple[bytes, DumpReport]:
    with plugin.dump(config, "") as running:
        data = b"".join(iter(running.read, b""))
        return data, running.finish()


def content(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("mode", ["DELETE", "WAL", "TRUNCATE", "PERSIST"])
def test_a_dump_restores_to_the_same_database(tmp_path: Path, mode: str) -> None:
    path = database(tmp_path / "ünï ?#%.db", mode=mode)
    data, report = dumped(source(path))
    target = tmp_path / "restored.db"
    plugin.restore(iter([data]), RestoreRequest(str(target), report.facts))
    assert content(target) == content(path)
    assert target.stat().st_mode & 0o777 == 0o600
    assert report.rows == {'a "table"': 1000, "pair": 1}
    assert report.facts["user_version"] == 7
    assert report.facts["page_size"] == 4096
    assert report.facts["write_ahead_log"] == (mode == "WAL")
    assert report.warnings == ()


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_under_a_live_writer_the_copy_is_one_moment(tmp_path: Path, mode: str) -> None:
    path = database(tmp_path / "app.db", mode=mode, rows=20_000)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE left_side (n)")
        connection.execute("CREATE TABLE right_side (n)")
    done, started = threading.Event(), threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            while not done.is_set():
                with connection:
                    connection.execute("INSERT INTO left_side VALUES (1)")
                    connection.execute("INSERT INTO right_side VALUES (1)")
                started.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert started.wait(60)
        reports = [dumped(source(path))[1] for _ in range(5)]
    finally:
        done.set()
        writer.join()
    for report in reports:
        assert report.rows is not None
        assert report.warnings == ()
        assert report.rows["left_side"] == report.rows["right_side"] > 0


def test_no_name_of_the_copy_is_left_while_it_is_read(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db", mode="WAL")
    with plugin.dump(source(path), "") as running:
        assert running.read()
        names = set(os.listdir(tmp_path)) - {"app.db-wal", "app.db-shm"}
        assert names == {"app.db"}
        ours = [link for link in open_files() if str(tmp_path) in link and ".art32-" in link]
        assert ours
        assert all(link.endswith(" (deleted)") for link in ours)
        while running.read():
            pass
        running.finish()
        assert set(os.listdir(tmp_path)) - {"app.db-wal", "app.db-shm"} == {"app.db"}
    assert not any(str(tmp_path) in link for link in open_files())


_VICTIM = """
import os, signal, sys
from pathlib import Path
from agent.backup.sources import sqlite
from agent.config.sources import SQLiteSource
count, limit = 0, int(sys.argv[2])
def audit(event, arguments):
    global count
    count += 1
    if count == limit:
        os.kill(os.getpid(), signal.SIGKILL)
config = SQLiteSource(kind="sqlite", name="app", path=Path(sys.argv[1]))
sys.addaudithook(audit)
with sqlite.dump(config, "") as running:
    while running.read():
        pass
    running.finish()
print(count)
"""


def test_a_kill_at_any_moment_leaves_at_most_an_empty_file_that_the_next_run_removes(
    tmp_path: Path,
) -> None:
    path = database(tmp_path / "app.db", rows=10)

    def run(limit: int) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-c", _VICTIM, str(path), str(limit)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    moments = int(run(0).stdout)
    litter = 0
    for limit in range(1, moments + 1, max(1, moments // 25)):
        killed = run(limit).returncode
        if killed == 0 and limit > moments * 9 // 10:  # not every run has as many
            break
        assert killed == -signal.SIGKILL
        left = [tmp_path / name for name in os.listdir(tmp_path) if name != "app.db"]
        assert all(each.stat().st_size == 0 for each in left)
        assert len(left) <= 1
        litter += len(left)
        dumped(source(path))
        assert os.listdir(tmp_path) == ["app.db"]
    assert litter > 0


def test_a_missing_database_is_an_error_and_is_not_created(tmp_path: Path) -> None:
    for name in ("absent.db", "absent/app.db"):
        for attempt in (plugin.probe, dumped):
            with pytest.raises(Art32Error) as caught:
                attempt(source(tmp_path / name))
            assert caught.value.code is Code.SOURCE_MISSING
    assert os.listdir(tmp_path) == []
    with pytest.raises(Art32Error) as caught:
        plugin.probe(source(tmp_path))
    assert caught.value.code is Code.SOURCE_MISSING


@pytest.mark.parametrize("data", [b"", b"x", b"no database " * 1000])
def test_a_file_that_is_no_database_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "app.db"
    path.write_bytes(data)
    for attempt in (plugin.probe, dumped):
        with pytest.raises(Art32Error) as caught:
            attempt(source(path))
        assert caught.value.code is Code.SOURCE_FAILED
    assert os.listdir(tmp_path) == ["app.db"]
    assert path.read_bytes() == data


def test_a_damaged_database_is_backed_up_with_a_warning(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db")
    with path.open("r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xff" * 4096)
    data, report = dumped(source(path))
    assert len(data) == path.stat().st_size
    assert dict(report.warnings)["quick-check-failed"] > 0


def test_a_database_that_stays_locked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = database(tmp_path / "app.db")
    monkeypatch.setattr(plugin, "BUSY_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Art32Error) as caught:
            dumped(source(path))
    assert caught.value.code is Code.SOURCE_FAILED
    assert "locked" in caught.value.sentence


def test_no_rows_are_counted_above_the_size_limit(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db")
    assert dumped(source(path, row_counts_up_to=0))[1].rows is None
    assert dumped(source(path, row_counts_up_to=4096))[1].rows is None


def test_a_target_that_exists_or_has_a_log_beside_it_is_refused(tmp_path: Path) -> None:
    path = database(tmp_path / "app.db")
    data, report = dumped(source(path))
    for name in ("taken.db", "stale.db-wal", "stale.db-journal"):
        (tmp_path / name).write_text("precious")
    for name in ("taken.db", "stale.db"):
        request = RestoreRequest(str(tmp_path / name), report.facts, overwrite=name == "stale.db")
        with pytest.raises(Art32Error) as caught:
            plugin.restore(iter([data]), request)
        assert caught.value.code is Code.TARGET_EXISTS
    assert (tmp_path / "taken.db").read_text() == "precious"
    assert not (tmp_path / "stale.db").exists()


def test_a_stream_that_is_no_database_or_one_table_is_refused(tmp_path: Path) -> None:
    for data, only, code in ((b"x" * 100, None, Code.TARGET_FAILED), (b"", "pair", Code.USAGE)):
        with pytest.raises(Art32Error) as caught:
            plugin.restore(iter([data]), RestoreRequest(str(tmp_path / "new"), {}, only=only))
        assert caught.value.code is code
    assert os.listdir(tmp_path) == []
