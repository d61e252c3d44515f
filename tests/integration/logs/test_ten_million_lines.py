"""Ten million numbered lines at full speed, rotations all the while, `kill -9` at random moments.

Long, so only in `make test-all`. The lines come from a plain appender, and a tenth and a hundredth
of as many from nginx and Apache.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.daemons import ROOT, Place, listening, started
from tests.fixtures.log_writers import appender, own_name
from tests.fixtures.ports import free_port
from tests.fixtures.repository import MakeRepository, Repository, text
from tests.fixtures.waiting import until
from tests.integration.logs.test_reopening import (
    apache_configuration,
    nginx_configuration,
    one_by_one,
    pipelined,
    section,
)

LINES = int(os.environ.get("ART32_LINES", "10000000"))
NUMBER = re.compile(rb"(?:number=|/n/)([0-9]+)")
KILLED_SHARE = 0.9
LONGEST_SECONDS = 1.5


def command(site: Repository, *words: str) -> list[str]:
    return [sys.executable, "-m", "agent", "--config", str(site.config_file), *words]


def rotate(site: Repository, chance: random.Random) -> bool:
    """Rotate once; most of the runs are killed at a random moment. Return whether it was."""
    running = subprocess.Popen(
        command(site, "logs", "rotate", "--force"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    doomed = chance.random() < KILLED_SHARE
    try:
        output, _ = running.communicate(
            timeout=chance.uniform(0.3, LONGEST_SECONDS) if doomed else None
        )
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        return True
    assert running.returncode in (0, 20), output
    return False


def require_each_once(site: Repository, count: int) -> None:
    """Restore as a stream; fail unless each number is there exactly once, and no more lines."""
    seen = bytearray(count)
    lines = 0
    with subprocess.Popen(
        command(site, "logs", "restore", "web", "--to", "-"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as restoring:
        assert restoring.stdout is not None
        for line in restoring.stdout:
            lines += 1
            found = NUMBER.search(line)
            assert found, line
            seen[int(found[1])] += 1
    assert restoring.returncode in (0, 20)
    assert lines == count
    assert seen.count(1) == count


def rotate_until(site: Repository, over: Callable[[], bool], log: Path) -> tuple[int, int]:
    """Rotate until the writer has ended, then ship the rest; return runs and kills."""
    chance = random.Random(32)
    runs = kills = 0
    while not over():
        kills += rotate(site, chance)
        runs += 1
        time.sleep(chance.uniform(0, 0.2))
    calm = random.Random(0)
    for _ in range(3):
        calm.random = lambda: 1.0  # type: ignore[method-assign]
        rotate(site, calm)
    assert not list(log.parent.glob("*.raw"))
    return runs, kills


@pytest.mark.exhaustive
@pytest.mark.timeout(4 * 3600)
def test_ten_million_lines_of_an_appender(make_repository: MakeRepository, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    log, pid_file = logs / "access.log", tmp_path / "pid"
    how = [
        *("[[logs.rotate]]", 'name = "web"', f"path = {text(log)}", f"pid_file = {text(pid_file)}"),
        *(f"process = {text(own_name())}", 'signal = "USR1"', "[logs.scan]"),
        f"directory = {text(tmp_path / 'scan')}",
    ]
    site = make_repository("", more="\n".join(how))
    with appender(log, pid_file, limit=LINES) as writer:
        runs, kills = rotate_until(site, lambda: writer.process.poll() is not None, log)
        assert writer.finish() == LINES
    print(f"{LINES} lines, {runs} runs of rotate, {kills} of them killed")
    require_each_once(site, LINES)


@pytest.mark.exhaustive
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("daemon", ["nginx", "apache"])
def test_many_lines_of_a_daemon(make_repository: MakeRepository, place: Place, daemon: str) -> None:
    port, log = free_port(), place.log("access.log")
    pid_file = place.path("/run/daemon.pid")
    if daemon == "nginx":
        argv = nginx_configuration(place, log, pid_file, port)
        count, write = LINES // 10, pipelined
    else:
        argv = apache_configuration(place, log, pid_file, port)
        count, write = LINES // 100, one_by_one
    site = make_repository("", more=section(log, daemon, pid_file))
    with started(argv, place, daemon):
        until(lambda: listening(port), f"{daemon} listens")
        writer = threading.Thread(target=write, args=(port, 0, count))
        writer.start()
        runs, kills = rotate_until(site, lambda: not writer.is_alive(), log)
        print(f"{daemon}: {count} lines, {runs} runs of rotate, {kills} of them killed")
        require_each_once(site, count)
