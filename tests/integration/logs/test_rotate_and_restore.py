"""From a writer at full speed to restored lines: none lost, none doubled, no address left."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fixtures.log_writers import appender, process_name
from tests.fixtures.repository import MakeRepository, Repository, text

ROOT = Path(__file__).parent.parent.parent.parent
NUMBER = re.compile(rb'"GET /n/([0-9]+)"')
ADDRESS = re.compile(rb"203\.0\.[0-9]+\.[1-9]")


def section(path: Path, *lines: str, name: str = "web") -> str:
    head = ["[[logs.rotate]]", f"name = {text(name)}", f"path = {text(path)}", *lines]
    return "\n".join([*head, "[logs.scan]", f"directory = {text(path.parent.parent / 'scan')}"])


def art32(site: Repository, *words: str, status: int = 0) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(site.config_file), *words],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def restored(site: Repository) -> bytes:
    return art32(site, "logs", "restore", "web", "--to", "-")


def test_every_line_of_a_fast_writer_comes_back_once_and_scrubbed(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    log, pid_file = logs / "access.log", tmp_path / "pid"
    with appender(log, pid_file, limit=20_000, pause=0.01) as writer:
        process = process_name(writer.process.pid)
        how = (f"pid_file = {text(pid_file)}", f"process = {text(process)}", 'signal = "USR1"')
        site = make_repository("", more=section(log, *how))
        for _ in range(3):
            time.sleep(0.1)
            art32(site, "logs", "rotate", "--force")
        count = writer.finish()
    art32(site, "logs", "rotate", "--force")
    assert list(logs.iterdir()) == []
    lines = restored(site)
    assert [int(number) for number in NUMBER.findall(lines)] == list(range(count))
    assert lines.count(b"\n") == count > 1000
    assert ADDRESS.search(lines) is None
    assert b"203.0.7.0 - - " in lines
