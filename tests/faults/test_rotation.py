"""Rotation of a log that is being written to, broken at every step: no line lost, none doubled."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.harness import Interpreters, Site, site
from tests.faults.store import PUT_REFUSALS, Fault
from tests.fixtures.keys import Keys
from tests.fixtures.log_writers import Appender, appender, own_name
from tests.fixtures.repository import text

KILLED = -signal.SIGKILL
NUMBER = re.compile(rb'"GET /n/([0-9]+)"')
RAW = re.compile(rb"203\.0\.[0-9]+\.[1-9]")
NEVER = 1_000_000
TOGETHER = 6
PAUSE = 0.05  # seconds; a rotation waits until the writer has opened the new file


@contextmanager
def logging_site(keys: Keys, interpreters: Interpreters) -> Iterator[tuple[Site, Path, Path]]:
    """A site with a log directory: the site, the log, the writer's process id file."""
    with site(keys, interpreters) as one:
        logs = one.directory / "logs"
        logs.mkdir()
        log, pid_file = logs / "access.log", one.directory / "writer.pid"
        section = [
            "[[logs.rotate]]",
            'name = "web"',
            f"path = {text(log)}",
            f"pid_file = {text(pid_file)}",
            f"process = {text(own_name())}",
            'signal = "USR1"',
            "[logs.scan]",
            f"directory = {text(one.directory / 'scan')}",
            'engine = "re"',  # the other one is compiled anew by every process
        ]
        with one.repository.config_file.open("a") as file:
            file.write("\n".join(section) + "\n")
        yield one, log, pid_file


def rotate(one: Site, *more: str) -> None:
    outcome = one.run("logs", "rotate", "--force", *more)
    assert outcome.status == 0, outcome


def require_all_lines(one: Site, log: Path, count: int) -> None:
    """Ship what is left, restore everything, and fail unless each line is there once."""
    rotate(one)
    assert list(log.parent.iterdir()) == []
    target = one.target.with_name("lines")
    outcome = one.run("logs", "restore", "web", "--to", str(target))
    assert outcome.status in (0, 20), outcome
    lines = b"".join(path.read_bytes() for path in sorted(target.iterdir()))
    assert [int(number) for number in NUMBER.findall(lines)] == list(range(count))
    assert lines.count(b"\n") == count
    assert RAW.search(lines) is None
    one.require_no_process()
    one.require_no_home()


def finish(writer: Appender) -> int:
    count = writer.stop()
    assert count > 500
    return count


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_rotation_killed_before_any_step_loses_and_doubles_nothing(
    keys: Keys, interpreters: Interpreters
) -> None:
    """One writer, one log, a kill at the first event, then at the second, and so on."""
    with logging_site(keys, interpreters) as (one, log, pid_file):
        with appender(log, pid_file, pause=PAUSE) as writer:
            events = one.run("logs", "rotate", "--force", strike_at=NEVER).report
            first = events.index("open", events.index("ctypes.dlsym"))  # the cut and what follows
            for point in range(first, len(events) + 1):
                outcome = one.run("logs", "rotate", "--force", strike_at=point)
                assert outcome.status in (KILLED, 0), outcome
                assert outcome.stderr == ""
                if outcome.status == 0:  # it has fewer events than the first, which made the places
                    break
                if point % TOGETHER == 0:  # ship what the kills have left
                    for path in [*one.store_files(), *one.repository.state.rglob("*")]:
                        assert path.is_dir() or RAW.search(path.read_bytes()) is None, path
                    rotate(one)
            count = finish(writer)
        assert outcome.status == 0, "the last came to its end"
        assert point - first > 60
        require_all_lines(one, log, count)


@pytest.mark.slow
def test_a_store_that_fails_at_any_write_keeps_the_raw_segment(
    keys: Keys, interpreters: Interpreters
) -> None:
    with logging_site(keys, interpreters) as (one, log, pid_file):
        with appender(log, pid_file, pause=PAUSE) as writer:
            calls = len(one.run("logs", "rotate", "--force", watch_store=True).report)
            assert calls >= 6
            # every call once, and every kind of failure
            for call, code in zip(range(1, calls + 1), itertools.cycle(PUT_REFUSALS), strict=False):
                outcome = one.run("logs", "rotate", "--force", fault=Fault(code.label, call))
                (entry,) = outcome.data
                assert outcome.status == code.exit_status, outcome
                assert code.label in {error["code"] for error in entry["errors"]}
                assert [path for path in log.parent.iterdir() if path != log]
            for call in range(1, calls + 1):
                one.run("logs", "rotate", "--force", fault=Fault("lost-reply", call))
            count = finish(writer)
        require_all_lines(one, log, count)


@pytest.mark.slow
def test_a_rotation_that_is_stopped_by_a_signal_goes_on_the_next_time(
    keys: Keys, interpreters: Interpreters
) -> None:
    with logging_site(keys, interpreters) as (one, log, pid_file):
        with appender(log, pid_file, pause=PAUSE) as writer:
            for point in range(1, NEVER, 9):
                outcome = one.run(
                    "logs", "rotate", "--force", strike_at=point, signal=signal.SIGTERM
                )
                assert outcome.status in (130, 0), outcome
                if outcome.status == 0:
                    break
            count = finish(writer)
        require_all_lines(one, log, count)
        assert os.listdir(one.directory / "tmp") == []
