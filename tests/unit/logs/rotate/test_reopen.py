"""Who is told to reopen: the writer, and nobody else, whatever its process id file says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config.logs_presets import Preset
from agent.errors import Art32Error, Code
from agent.logs.rotate import directory, reopen
from tests.fixtures.log_writers import own_name
from tests.fixtures.waiting import until

TRUSTED = directory.trust(None, None)
WRITER = """
import os, signal, sys
def told(*_):
    os.write(1, b"told\\n")  # not sys.stdout: the signal may come while that is flushed
signal.signal(signal.SIGUSR1, told)
sys.stdout.write("ready\\n")
sys.stdout.flush()
while True:
    signal.pause()
"""


@pytest.fixture
def writer() -> Iterator[subprocess.Popen[bytes]]:
    """A process that says when it was told; any signal that it does not expect ends it."""
    child = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


@pytest.fixture
def pid_file(tmp_path: Path, writer: subprocess.Popen[bytes]) -> Path:
    path = tmp_path / "writer.pid"
    path.write_text(f"{writer.pid}\nmore of it, as in postmaster.pid\n")
    path.chmod(0o644)
    return path


def preset(pid_file: Path, **more: str) -> Preset:
    return Preset("USR1", more.pop("process", own_name()), pid_file, **more)


def refused(how: Preset) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        reopen.tell(how, TRUSTED)
    assert caught.value.code is Code.REOPEN_FAILED
    return caught.value


def test_the_writer_is_told(writer: subprocess.Popen[bytes], pid_file: Path) -> None:
    assert reopen.tell(preset(pid_file), TRUSTED) == f"{own_name()} {writer.pid}"
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"told\n"


def test_a_writer_that_does_not_run_is_nobody(tmp_path: Path) -> None:
    assert reopen.tell(preset(tmp_path / "none"), TRUSTED) is None
    dead = tmp_path / "dead.pid"
    child = subprocess.Popen(["true"])
    child.wait()
    dead.write_text(str(child.pid))
    assert reopen.tell(preset(dead), TRUSTED) is None


def test_another_program_under_a_stale_id_is_not_signalled(
    writer: subprocess.Popen[bytes], pid_file: Path
) -> None:
    assert "stale" in refused(preset(pid_file, process="nginx")).sentence
    assert writer.poll() is None


@pytest.mark.parametrize("content", ["", "x", "0", "1", "-1", "99999999999", "1.5"])
def test_what_is_no_process_id_is_refused(pid_file: Path, content: str) -> None:
    pid_file.write_text(content)
    refused(preset(pid_file))


def test_a_link_is_refused(pid_file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pid"
    link.symlink_to(pid_file)
    refused(preset(link))


def test_a_file_that_others_may_change_is_refused(
    writer: subprocess.Popen[bytes], pid_file: Path
) -> None:
    pid_file.chmod(0o646)
    refused(preset(pid_file))
    assert writer.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_strangers_file_names_only_his_own_processes(
    writer: subprocess.Popen[bytes], pid_file: Path
) -> None:
    os.chown(pid_file, 65534, -1)
    refused(preset(pid_file))
    named = directory.trust("nobody", None)
    with pytest.raises(Art32Error) as caught:
        reopen.tell(preset(pid_file), named)
    assert "another user" in caught.value.sentence
    assert writer.poll() is None


def test_the_child_of_a_title_is_told_and_not_its_parent(tmp_path: Path) -> None:
    """As PostgreSQL's logging collector: `postgres: 15/main: logger`."""
    said = tmp_path / "said"
    child = (
        "import os,signal,sys,time\n"
        f"signal.signal(signal.SIGUSR1, lambda *_: open({str(said)!r}, 'a').write('child'))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "while True: signal.pause()\n"
    )
    parent = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {child!r}, 'logger'])"
    running = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
    try:
        until((tmp_path / "ready").exists, "the child does not start")
        pid_file = tmp_path / "parent.pid"
        pid_file.write_text(str(running.pid))
        told = reopen.tell(preset(pid_file, child="logger"), TRUSTED)
        assert told is not None
        assert "`logger`" in told
        until(said.exists, "the child was not told")
        assert running.poll() is None
        assert "no child" in refused(preset(pid_file, child="walwriter")).sentence
    finally:
        os.killpg(running.pid, 9)
        running.wait()
