from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import files
from agent.config.logs_scan import Scan, Watch
from agent.errors import ExitStatus
from agent.logs import watch
from agent.logs.scan.publish import read_findings
from agent.logs.scan.rules import load
from agent.logs.watch import Watcher, scanned_up_to
from tests.fixtures.databases import short_directory

LINE = b'203.0.113.%d - - [24/Nov/2026:06:03:00 +0000] "GET /.env?%08d HTTP/1.1" 404 15 "-" "x"\n'


OTHER_RULES = [rule.id for rule in load() if rule.id != "http-secret-files"]


class Place:
    """A log, its directory, and watchers that come and go."""

    def __init__(self, directory: Path, name: str = "access.log") -> None:
        self.log = directory / "log" / name
        self.log.parent.mkdir()
        self.scan = Scan.model_validate(
            {"directory": directory / "state", "disabled_rules": OTHER_RULES}
        )
        self.watch = Watch.model_validate(
            {"files": [{"path": directory / "log" / name}], "checkpoint_seconds": 3600}
        )
        self.number = 0

    def write(self, count: int = 1, *, path: Path | None = None) -> None:
        with (path or self.log).open("ab") as handle:
            for _ in range(count):
                handle.write(LINE % (self.number % 200, self.number))
                self.number += 1

    def watcher(self) -> Watcher:
        return Watcher(self.scan, self.watch)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def read(watcher: Watcher) -> int:
    while watcher.step(look=True):
        pass
    return sum(seen.lines for seen in watcher.scanner.seen.values())


def requests(watcher: Watcher) -> int:
    return watcher.scanner.tally.judges["http-secret-files"].matches


def test_what_is_appended_is_read_once(place: Place) -> None:
    place.write(3)
    watcher = place.watcher()
    assert read(watcher) == 3
    place.write(2)
    assert (read(watcher), requests(watcher)) == (5, 5)
    assert read(watcher) == 5


def test_a_line_is_read_when_it_is_whole(place: Place) -> None:
    watcher = place.watcher()
    place.write(1)
    with place.log.open("ab") as handle:
        handle.write(LINE[:40])
    assert read(watcher) == 1
    with place.log.open("ab") as handle:
        handle.write(b'0.1 - - [24/Nov/2026:06:03:00 +0000] "GET / HTTP/1.1" 200 1 "-" "x"\n')
    assert read(watcher) == 2


def test_a_renamed_log_is_read_to_its_end(place: Place) -> None:
    watcher = place.watcher()
    place.write(3)
    read(watcher)
    old = place.log.with_name("access.log.1")
    place.log.rename(old)
    place.write(2, path=old)
    place.write(4)
    assert read(watcher) == 9
    place.write(1, path=old)  # the writer has not reopened yet
    assert (read(watcher), requests(watcher)) == (10, 10)


def test_two_rotations_between_two_looks_lose_nothing(place: Place) -> None:
    place.write(3)
    place.log.rename(place.log.with_name("access.log.1"))
    place.write(3)
    watcher = place.watcher()
    assert read(watcher) == 3, "what was rotated before the first look is not read"
    for name in ("access.log.2", "access.log.3"):
        place.log.rename(place.log.with_name(name))
        place.write(5)
    assert read(watcher) == 13


def test_a_truncated_log_is_read_from_its_start(place: Place) -> None:
    watcher = place.watcher()
    place.write(3)
    read(watcher)
    os.truncate(place.log, 0)
    place.write(1)
    assert read(watcher) == 4


def test_a_log_that_was_cut_and_has_grown_beyond_the_offset_is_read_from_its_start(
    place: Place,
) -> None:
    watcher = place.watcher()
    place.write(3)
    read(watcher)
    shutil.copyfile(place.log, place.log.with_name("access.log.1"))
    os.truncate(place.log, 0)
    place.write(20)
    assert read(watcher) == 23


def test_an_inode_that_is_used_again_is_another_log(place: Place) -> None:
    place.write(3)
    watcher = place.watcher()
    read(watcher)
    watcher.close()
    content = place.log.read_bytes()
    with place.log.open("r+b") as handle:  # the same inode, the same size, other lines
        handle.write(content[::-1].replace(b"\n", b"x")[: len(content) - 1])
    assert read(place.watcher()) == 4


def test_a_copy_beside_the_log_is_not_read_again(place: Place) -> None:
    watcher = place.watcher()
    place.write(3)
    read(watcher)
    shutil.copyfile(place.log, place.log.with_name("access.log.bak"))
    place.log.rename(place.log.with_name("access.log.1"))
    place.write(1)
    assert read(watcher) == 4


def test_a_rotation_while_nobody_watched_loses_nothing(place: Place) -> None:
    place.write(3)
    watcher = place.watcher()
    read(watcher)
    watcher.close()
    place.write(2)
    place.log.rename(place.log.with_name("access.log.1"))
    place.write(4)
    place.log.rename(place.log.with_name("access.log.2"))
    place.write(1)
    again = place.watcher()
    assert (read(again), requests(again)) == (10, 10)


def test_what_was_rotated_and_deleted_while_nobody_watched_is_said(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(3)
    watcher = place.watcher()
    read(watcher)
    watcher.close()
    place.write(2)
    place.log.unlink()
    place.write(1)
    again = place.watcher()
    assert read(again) == 4
    assert "is gone" in capsys.readouterr().err
    assert list(again.followed.lost) == [str(place.log)]


def test_what_follows_a_line_that_is_too_long_is_no_line(place: Place) -> None:
    forged = LINE % (1, 1)
    with place.log.open("wb") as handle:
        handle.write(b"x" * (1 << 18) + forged)  # the end of the same line
    watcher = place.watcher()
    place.write(1)
    assert requests(watcher) == 0
    assert (read(watcher), requests(watcher)) == (2, 1)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_what_is_no_file_is_not_followed_and_named(place: Place, kind: str) -> None:
    if kind == "link":
        place.log.symlink_to("/etc/shadow")
    elif kind == "fifo":
        os.mkfifo(place.log)
    else:
        place.log.mkdir()
    watcher = place.watcher()
    assert read(watcher) == 0
    assert list(watcher.followed.missed) == [str(place.log)]


def test_a_pattern_names_many_logs(tmp_path: Path) -> None:
    place = Place(tmp_path, "*.access.log")
    for name in ("a.access.log", "b.access.log"):
        place.write(2, path=place.log.with_name(name))
    watcher = place.watcher()
    assert read(watcher) == 4
    assert len(watcher.scanner.seen) == 2


def test_the_checkpoint_and_the_records_hold_no_line(place: Place) -> None:
    place.write(5)
    watcher = place.watcher()
    read(watcher)
    watcher.close()
    for file in place.scan.directory.rglob("*"):
        if file.is_file():
            assert b"GET" not in file.read_bytes(), file
            assert file.stat().st_mode & 0o077 == 0, file
    assert place.scan.directory.stat().st_mode & 0o077 == 0


def test_a_damaged_checkpoint_is_said_and_everything_is_read_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write(5)
    watcher = place.watcher()
    read(watcher)
    watcher.close()
    state = place.scan.directory / "watch.json"
    state.write_bytes(state.read_bytes()[:-9])
    assert read(place.watcher()) == 5
    assert "is damaged" in capsys.readouterr().err


def test_two_watches_do_not_share_a_directory(place: Place) -> None:
    place.write(1)
    from agent.errors import Art32Error

    with files.lock(place.scan.directory / "watch.lock", what="a test"):
        with pytest.raises(Art32Error) as caught:
            watch.run(place.scan, place.watch, stop=threading.Event(), once=True)
        assert caught.value.code.label == "locked"


def test_rotation_learns_how_far_the_watch_has_come(place: Place) -> None:
    place.write(3)
    assert scanned_up_to(place.scan, place.log) == 0
    watch.run(place.scan, place.watch, stop=threading.Event(), once=True)
    size = place.log.stat().st_size
    assert scanned_up_to(place.scan, place.log) == size
    place.write(1)
    renamed = place.log.with_name("access.log.1.raw")
    place.log.rename(renamed)
    assert scanned_up_to(place.scan, renamed) == size
    other = place.log.with_name("other")
    other.write_bytes(b"x\n")
    assert scanned_up_to(place.scan, other) == 0


STEPS = st.lists(
    st.sampled_from(["write", "read", "rotate", "checkpoint", "kill", "publish", "partial"]),
    max_size=16,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_in_whatever_order_every_line_counts_once(steps: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))
        place.write(1)
        watcher = place.watcher()
        read(watcher)
        torn = b""
        rotations = 0
        for step in steps:
            match step:
                case "write":
                    if torn:
                        with place.log.open("ab") as handle:
                            handle.write(torn)
                        torn = b""
                    place.write(3)
                case "partial" if not torn:
                    line = LINE % (place.number % 200, place.number)
                    place.number += 1
                    with place.log.open("ab") as handle:
                        handle.write(line[:30])
                    torn = line[30:]
                case "rotate" if not torn:
                    rotations += 1
                    place.log.rename(place.log.with_name(f"access.log.{rotations}"))
                    place.write(1)
                case "read":
                    read(watcher)
                case "checkpoint":
                    watcher.checkpoint()
                case "publish":
                    watcher.publish()
                case "kill":
                    read(watcher)  # has seen more than the checkpoint says
                    watcher.followed.close()
                    watcher = place.watcher()
                    read(watcher)
        if torn:
            with place.log.open("ab") as handle:
                handle.write(torn)
        assert read(watcher) == place.number
        assert requests(watcher) == place.number
        watcher.close()
        counted = sum(one.count for one in read_findings(place.scan.directory))
        assert counted == 0 or counted <= place.number


def test_systemd_hears_that_it_follows_that_it_lives_and_that_it_stops(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write(3)
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{directory}/n")
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/n")
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        watch.run(place.scan, place.watch, stop=threading.Event(), once=True)
        said = [heard.recv(200) for _ in range(4)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"STATUS=following 1 files", b"STOPPING=1"]


def test_where_the_kernel_watches_no_more_for_a_user_the_clock_does(place: Place) -> None:
    place.write(3)
    file = place.scan.directory.parent / "agent.toml"
    file.write_text(
        f'host = "web1"\nstate_directory = "{place.scan.directory}"\n'
        f'[store]\nkind = "directory"\npath = "{file.parent}"\n'
        f'[logs.scan]\ndirectory = "{place.scan.directory}"\n'
        f'[[logs.watch.files]]\npath = "{place.log}"\n'
    )
    # a namespace of its own, in which nobody has an instance of inotify(7) left
    alone = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    alone += ['echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace of users is to be had here")
    watch_once = ["-m", "agent", "--config", str(file), "logs", "watch", "--once"]
    done = subprocess.run(
        [*alone, sys.executable, *watch_once], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitStatus.WARNINGS, done.stderr
    assert "the kernel gives no word of renamed logs" in done.stderr
    assert done.stdout.startswith("3 lines today")
