"""The real command is killed again and again while a writer rotates: every line counts once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.logs.scan.publish import read_findings
from agent.logs.scan.rules import load
from tests.fixtures.waiting import until

LINE = '203.0.113.{} - - [{}] "GET /.env?{} HTTP/1.1" 404 15 "-" "x"\n'
OTHER_RULES = [rule.id for rule in load() if rule.id != "http-secret-files"]


def configure(directory: Path) -> Path:
    file = directory / "agent.toml"
    (directory / "store").mkdir()
    file.write_text(
        f'host = "web1"\n[store]\nkind = "directory"\npath = "{directory}/store"\n'
        f'[logs.scan]\ndirectory = "{directory}/scan"\n'
        f"disabled_rules = {json.dumps(OTHER_RULES)}\n"
        "[logs.watch]\nrescan_seconds = 0.3\ncheckpoint_seconds = 0.3\n"
        f'[[logs.watch.files]]\npath = "{directory}/log/access.log"\nformat = "combined"\n'
    )
    return file


def watch(config: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with said(config).open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "agent", "--config", str(config), "logs", "watch", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def said(config: Path) -> Path:
    return config.with_name("stderr")


def counts(directory: Path) -> tuple[int, int]:
    """Return the lines looked at and those that a rule has matched, from the records."""
    found = [json.loads(day.read_bytes()) for day in directory.glob("scan/records/*/*.json")]
    lines = sum(one["lines"] for record in found for one in record["sources"].values())
    matched = sum(one["lines"] for record in found for one in record["rules"].values())
    return lines, matched


@pytest.mark.slow
def test_kills_and_rotations_lose_no_line_and_double_none(tmp_path: Path) -> None:
    config = configure(tmp_path)
    log = tmp_path / "log" / "access.log"
    log.parent.mkdir()
    log.touch()
    source = random.Random(3)
    written = rotations = 0
    child = watch(config)
    until(lambda: (tmp_path / "scan" / "watch.json").exists(), "the first look")
    handle = log.open("a")
    for kill in range(6):
        end = time.monotonic() + 1 + source.random()
        while time.monotonic() < end:
            stamp = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
            for _ in range(200):
                handle.write(LINE.format(written % 150, stamp, written))
                written += 1
            handle.flush()
            if source.random() < 0.05:
                rotations += 1
                log.rename(log.with_name(f"access.log.{rotations}"))
                handle.write(LINE.format(1, stamp, written))  # not reopened yet
                written += 1
                handle.close()
                handle = log.open("a")
            time.sleep(0.01)
        child.kill()
        child.wait()
        if kill % 2:
            rotations += 1
            log.rename(log.with_name(f"access.log.{rotations}"))
            handle.close()
            handle = log.open("a")
        child = watch(config)
    handle.close()
    until(lambda: counts(tmp_path) == (written, written), "every line")
    child.send_signal(signal.SIGTERM)
    status = child.wait(60)
    # where other programs have used up the instances of inotify, it says so and goes by the clock
    words = [line for line in said(config).read_text().splitlines() if "renamed logs" not in line]
    assert (status, words) == (0, [])
    done = watch(config, "--once")
    assert done.wait(60) in (0, 20)
    assert counts(tmp_path) == (written, written)
    assert rotations > 3
    findings = read_findings(tmp_path / "scan")
    assert sum(one.count for one in findings) == written
    assert len({one.who for one in findings}) == len(findings) == 150


def test_watching_needs_something_to_watch(tmp_path: Path) -> None:
    config = configure(tmp_path)
    config.write_text(config.read_text().partition("[[logs.watch.files]]")[0])
    child = watch(config)
    assert child.wait(60) == 78
    assert "there is nothing to watch" in said(config).read_text()


def test_an_idle_watch_costs_next_to_nothing(tmp_path: Path) -> None:
    """Two looks a second at open files, now and then one at the names: counted, not timed."""
    config = configure(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "access.log").write_text("x\n" * 1000)
    child = watch(config)
    until(lambda: (tmp_path / "scan" / "watch.json").exists(), "the first look")
    time.sleep(1)

    def switches() -> int:
        status = Path(f"/proc/{child.pid}/status").read_text()
        (line,) = [one for one in status.splitlines() if one.startswith("voluntary_ctxt")]
        return int(line.split()[1])

    before = switches()
    time.sleep(2)
    waits = switches() - before
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 0
    assert waits < 100, waits
