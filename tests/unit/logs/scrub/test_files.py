"""Files in place: whole or as they were, never under a writer, never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent.config.logs_scrub import Scrub
from agent.errors import Art32Error, Code, ExitStatus
from agent.logs.scrub.files import scrub_file

RAW = b"203.0.113.77 - - x\r\n\xff\xfe 2001:db8::1"
SCRUBBED = b"203.0.113.0 - - x\r\n\xff\xfe 2001:db8::"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(RAW)
    path.chmod(0o640)
    os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    return path


def test_a_file_is_scrubbed_and_keeps_mode_and_times(log: Path, tmp_path: Path) -> None:
    report, _ = scrub_file(log, Scrub())
    assert log.read_bytes() == SCRUBBED
    status = log.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, 2_000_000_000)
    assert report.kinds == {"ipv4": 1, "ipv6": 1}
    assert os.listdir(tmp_path) == ["access.log"]


def test_a_file_under_a_writer_is_refused_and_stays(log: Path) -> None:
    with log.open("ab"), pytest.raises(Art32Error, match="open for writing") as caught:
        scrub_file(log, Scrub())
    assert caught.value.exit_status is ExitStatus.TRY_AGAIN
    assert log.read_bytes() == RAW


def test_a_link_a_second_name_and_a_pipe_are_refused(log: Path, tmp_path: Path) -> None:
    symbolic = tmp_path / "symbolic"
    symbolic.symlink_to(log)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (symbolic, pipe, tmp_path):
        with pytest.raises(Art32Error):
            scrub_file(path, Scrub())
    (tmp_path / "second").hardlink_to(log)
    with pytest.raises(Art32Error, match="one name"):
        scrub_file(log, Scrub())
    assert log.read_bytes() == RAW


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Art32Error, match="there is no file") as caught:
        scrub_file(tmp_path / "none.log", Scrub())
    assert caught.value.code is Code.USAGE


def test_a_full_disk_leaves_the_file_as_it_was(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Art32Error, match="No space left") as caught:
        scrub_file(log, Scrub())
    assert caught.value.code is Code.DISK
    assert log.read_bytes() == RAW
    assert os.listdir(tmp_path) == ["access.log"]
