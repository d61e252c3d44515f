"""Progress: JSON lines where nobody watches, one line that renews itself on a terminal."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from agent import clock, notify
from agent.progress import Progress
from tests.fixtures.databases import short_directory


class Ticking:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.seconds)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    return Ticking(monkeypatch)


def test_in_a_log_there_is_a_json_line_every_ten_seconds(
    ticking: Ticking, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("backing up app", 1000) as progress:
        for _ in range(25):
            ticking.seconds += 1
            progress.add(20)
    shown = capsys.readouterr()
    first, second = (json.loads(line) for line in shown.err.splitlines())
    assert first == {
        "schema": "art32.progress/1",
        "what": "backing up app",
        "bytes": 200,
        "bytes_per_second": 20,
        "seconds_left": 40,
    }
    assert second["bytes"] == 400
    assert shown.out == ""


def test_without_a_total_no_time_is_promised(
    ticking: Ticking, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("restoring")
    ticking.seconds = 11
    progress.at(0)
    assert json.loads(capsys.readouterr().err)["seconds_left"] is None


def test_more_than_expected_is_no_negative_time(
    ticking: Ticking, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress("restoring", 10)
    ticking.seconds = 11
    progress.at(50)
    assert json.loads(capsys.readouterr().err)["seconds_left"] == 0


def test_on_a_terminal_one_line_renews_itself_and_is_cleared(
    ticking: Ticking, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("backing up", 4096) as progress:
        ticking.seconds = 1
        progress.at(1024)
    shown = capsys.readouterr().err
    assert "\n" not in shown
    assert "backing up: 1.0 KiB, 1.0 KiB/s, 3.0 s left" in shown
    assert shown.endswith("\r\x1b[K")


def test_systemd_is_told_of_each_piece_of_work(
    ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    with short_directory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{directory}/n")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{directory}/n")
        notify.manager.cache_clear()
        with Progress("backing up app", 1000) as progress:
            ticking.seconds += 10
            progress.add(500)
        with Progress("backing up uploads"):
            pass
        notify.manager.cache_clear()
        assert [heard.recv(100) for _ in range(3)] == [
            b"STATUS=backing up app",
            b"STATUS=backing up app: 500 B, 50 B/s, 10.0 s left",
            b"STATUS=backing up uploads",
        ]
