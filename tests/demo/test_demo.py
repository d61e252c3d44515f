"""`python -m demo`: small, from end to end, as a user runs it; and that its comparisons compare."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo import place, tree
from demo.data import tables
from demo.database import compare_rows
from demo.postgresql import binaries
from demo.sqlite import SQLite
from demo.terminal import DemoError
from tests.fixtures.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCALE = "0.02"
_PATIENCE = 240


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory of a short path that no other user may change."""
    path = Path(tempfile.mkdtemp(prefix="art32-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def start(*arguments: str | Path, path: str | None = None) -> subprocess.Popen[str]:
    environment = {"PATH": path or os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str | Path, path: str | None = None) -> tuple[int, str]:
    with start(*arguments, path=path) as child:
        said, _ = child.communicate(timeout=_PATIENCE)
    return child.returncode, said


def needs(engine: str) -> None:
    if engine == "postgresql" and binaries() is None:
        pytest.skip("no PostgreSQL server is installed")


def processes_that_name(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in line and "pytest" not in line:
                found.append(line)
    return found


def left(text: str) -> list[str]:
    """Return what still runs after a moment: an agent says goodbye before it ends."""
    end = time.monotonic() + PATIENCE
    while (found := processes_that_name(text)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def socket_directory(said: str) -> str:
    return said.partition("socket in ")[2].partition(",")[0]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_the_demo_runs_twice_and_leaves_one_directory(engine: str, short: Path) -> None:
    needs(engine)
    directory = short / "demo"
    for _ in range(2):
        status, said = run("--directory", directory, "--scale", SCALE, "--engine", engine)
        assert status == 0, said
        assert "was found equal" in said
        assert f"rm -rf {directory}" in said
        confined = "skipped: restoring" not in said
        rounds = 1 + (engine == "sqlite" or confined)
        assert said.count("7,200  rows of order_lines are equal") == rounds, said
        assert ("$ art32 restore uploads --to" in said) == confined
        assert ("Everything was found equal" in said) == confined
        if engine == "postgresql":
            assert not Path(socket_directory(said)).exists()
    assert [path.name for path in short.iterdir()] == ["demo"]
    assert left(str(directory)) == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_server(stop: signal.Signals, short: Path) -> None:
    needs("postgresql")
    said = ""
    with start("--directory", short / "demo", "--scale", SCALE, "--engine", "postgresql") as child:
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            if "$ art32 backup run" in line:
                os.killpg(child.pid, stop)  # as a terminal does
                break
        rest, _ = child.communicate(timeout=_PATIENCE)
    assert child.returncode == 130, said + rest
    assert "nothing is left running" in rest
    assert "Traceback" not in rest
    server = socket_directory(said)
    assert server
    assert not Path(server).exists()
    assert left(server) == []
    assert left(str(short)) == []


@pytest.mark.slow
def test_a_killed_demo_takes_its_server_with_it_and_the_next_one_sweeps(short: Path) -> None:
    needs("postgresql")
    said = ""
    with start("--directory", short / "demo", "--scale", SCALE, "--engine", "postgresql") as child:
        assert child.stdout is not None
        for line in child.stdout:
            said += line
            if "Generate a shop" in line:
                child.kill()
                break
        child.wait()
    server = socket_directory(said)
    assert left(f"unix_socket_directories={server}") == []
    status, said = run("--directory", short / "demo", "--scale", SCALE, "--engine", "postgresql")
    assert status == 0, said
    assert not Path(server).exists()


def test_a_directory_of_somebody_else_is_left_alone(short: Path) -> None:
    (short / "precious").write_text("mine")
    status, said = run("--directory", short)
    assert status == 1
    assert "holds something that is no demo's" in said
    assert (short / "precious").read_text() == "mine"


def test_two_demos_do_not_share_a_directory(short: Path) -> None:
    with place.held(short):
        status, said = run("--directory", short)
    assert status == 1
    assert "another demo is running" in said


def test_a_path_too_long_for_a_socket_is_refused(short: Path) -> None:
    status, said = run("--directory", short / ("n" * 100))
    assert status == 1
    assert "--directory" in said
    assert list(short.iterdir()) == []


def test_missing_programs_are_named_at_once_with_the_command_that_helps(short: Path) -> None:
    status, said = run("--directory", short / "demo", path=str(short))
    assert status == 1
    assert "gpg, gpgconf, gpgv, zstd" in said
    assert "sudo apt-get install gnupg gpgv tar util-linux zstd" in said
    assert "Traceback" not in said


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    tree.make(one, 0.01)
    options = ("--archive", "--sparse=always")
    subprocess.run(["cp", *options, str(one), str(other)], check=True)
    return one, other


def test_a_faithful_copy_is_found_equal(trees: tuple[Path, Path]) -> None:
    assert tree.compare(*trees).entries > 30


def _content(root: Path) -> None:
    path = root / "scans" / "scan-000.bin"
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _unlinked(root: Path) -> None:
    path = root / "links" / "the same invoice"
    above = path.parent.stat()
    status = path.stat()
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(path.parent, ns=(above.st_atime_ns, above.st_mtime_ns))


def _filled(root: Path) -> None:
    path = root / "disk.img"
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(10 << 20)
        file.write(bytes(8 << 20))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _retargeted(root: Path) -> None:
    path = root / "links" / "to invoice"
    above = path.parent.stat()
    status = path.lstat()
    path.unlink()
    path.symlink_to("another")
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(path, ns=times, follow_symlinks=False)
    os.utime(path.parent, ns=(above.st_atime_ns, above.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_content, "content differs"),
        (_unlinked, "hard links differ"),
        (_filled, "holes were filled"),
        (_retargeted, "target differs"),
        (lambda root: (root / "empty file").unlink(), "1 files are missing"),
        (lambda root: (root / "mode-755").chmod(0o700), "mode differs"),
        (lambda root: os.utime(root / "mode-640", ns=(1, 1_000_000_000_123_456_000)), "mtime_ns"),
    ],
)
def test_a_copy_that_differs_is_not_found_equal(
    trees: tuple[Path, Path], damage: Callable[[Path], None], sentence: str
) -> None:
    damage(trees[1])
    with pytest.raises(DemoError, match=sentence):
        tree.compare(*trees)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([1, 2], "fewer rows"),
        ([1, 2, 3, 4], "more rows"),
        ([1, 5, 3], "row 2 differs"),
    ],
)
def test_rows_that_differ_are_not_found_equal(rows: list[int], sentence: str) -> None:
    with pytest.raises(DemoError, match=sentence):
        compare_rows("orders", iter([1, 2, 3]), iter(rows))
    assert compare_rows("orders", iter([1, 2, 3]), iter([1, 2, 3])) == 3


def test_a_changed_cell_of_a_database_is_found(tmp_path: Path) -> None:
    database = SQLite(tmp_path)
    database.fill(0.005)
    copy = Path(database.target("copy"))
    copy.parent.mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    assert {table for table, _ in database.compare("copy")} == {table.name for table in tables()}
    with contextlib.closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE tickets SET body = body || '.' WHERE id = 7")
    with pytest.raises(DemoError, match="table `tickets`: row 7 differs"):
        database.compare("copy")
