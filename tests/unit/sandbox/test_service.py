"""The service that makes rooms: what it runs and for whom, and what it never does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import run, sandbox
from agent.errors import Art32Error, Code
from agent.sandbox import remote, service
from tests.fixtures.rooms import started
from tests.fixtures.waiting import until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has rooms made by another process"
)
USER = "nobody"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for engines, and a service for it that this process asks."""
    directory = tmp_path / "engines"
    directory.mkdir()
    child = started(tmp_path / "door", directory)
    monkeypatch.setattr(sandbox, "ENGINES", tmp_path / "door")
    monkeypatch.setattr(sandbox, "_may_make_rooms", lambda: False)
    try:
        yield directory
    finally:
        child.kill()
        child.wait()


def room(place: Path) -> Path:
    path = place / "room"
    path.mkdir(mode=0o700, exist_ok=True)
    sandbox.give(path, USER)
    return path


def test_streams_and_statuses_come_through(place: Path) -> None:
    argv = sandbox.confined(["sh", "-c", "cat; echo bad >&2; exit 7"], user=USER)
    assert "remote.py" in " ".join(argv)
    done = run.run(argv, stdin=b"through")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"through", b"bad\n")
    killed = run.run(sandbox.confined(["sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"], user=USER))
    assert killed.returncode == 128 + signal.SIGSEGV


def test_much_comes_through_and_its_end_is_seen(place: Path) -> None:
    """No descriptor is held open in between: else `cat` would wait for ever."""
    argv = sandbox.confined(["sh", "-c", "cat | wc -c"], user=USER)
    with run.Process(argv, stdin=run.PIPE) as process:
        block = b"x" * (1 << 20)
        for _ in range(256):
            process.stdin.write(block)
        process.stdin.close()
        assert process.stdout.read() == b"%d\n" % (256 << 20)
        assert process.wait(30) == 0


def test_a_reader_that_goes_away_ends_the_writer(place: Path) -> None:
    with run.Process(sandbox.confined(["yes"], user=USER)) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(30) != 0


def running(mark: str) -> bool:
    done = subprocess.run(["pgrep", "--full", mark], capture_output=True, check=False)
    return done.returncode == 0


def test_whoever_asked_takes_the_program_along_when_it_is_killed(place: Path) -> None:
    argv = sandbox.confined(["sleep", "98765"], user=USER, writable=room(place))
    # the request is in the client's own arguments too
    with run.Process(argv) as process:
        until(lambda: running("^sleep 98765"), "the program")
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not running("^sleep 98765"), "its end")


def test_the_service_takes_its_programs_along_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "engines"
    directory.mkdir()
    child = started(tmp_path / "door", directory)
    monkeypatch.setattr(sandbox, "ENGINES", tmp_path / "door")
    monkeypatch.setattr(sandbox, "_may_make_rooms", lambda: False)
    with run.Process(sandbox.confined(["sleep", "98764"], user=USER)) as process:
        until(lambda: running("^sleep 98764"), "the program")
        child.kill()
        child.wait()
        until(lambda: not running("^sleep 98764"), "its end")
        assert process.wait(30) == remote.REFUSED
    assert b"has ended" in process.stderr


def test_without_the_service_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as deaf:
        deaf.bind(str(tmp_path / "door"))  # and nobody listens
    monkeypatch.setattr(sandbox, "ENGINES", tmp_path / "door")
    monkeypatch.setattr(sandbox, "_may_make_rooms", lambda: False)
    sandbox._trial.cache_clear()
    try:
        with pytest.raises(Art32Error) as raised:
            sandbox.check(USER)
    finally:
        sandbox._trial.cache_clear()
    assert raised.value.code is Code.SANDBOX_UNAVAILABLE
    assert "is not there" in raised.value.sentence


def test_it_ends_when_nothing_runs(tmp_path: Path) -> None:
    child = started(tmp_path / "door", tmp_path, idle=0.2)
    assert child.wait(30) == 0


def test_another_user_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = started(tmp_path / "door", tmp_path, client=4711)
    monkeypatch.setattr(sandbox, "ENGINES", tmp_path / "door")
    argv = sandbox._remote(["id"], None, (), (), ())
    try:
        done = run.run(argv)
    finally:
        child.kill()
        child.wait()
    assert (done.returncode, done.stdout) == (remote.REFUSED, b"")
    assert b"another user asks" in done.stderr


@pytest.mark.parametrize("connection", ["silent", "junk", "without streams"])
def test_a_client_that_speaks_otherwise_keeps_nobody_else_waiting(
    place: Path, connection: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(sandbox.ENGINES))
        if connection == "junk":
            socket.send_fds(client, [b"{"], [0, 1, 2])
        elif connection == "without streams":
            client.send(json.dumps({"argv": ["id"]}).encode())
        done = run.run(sandbox.confined(["true"], user=USER))
        assert done.returncode == 0
        if connection != "silent":
            assert "no engine is started" in json.loads(client.recv(4096))


GOOD = {"argv": ["id"], "writable": None, "sockets": [], "readable": [], "capabilities": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"argv": []},
        {"argv": None},
        {"writable": "/etc"},
        {"writable": "HERE"},  # the directory itself: the rooms of all others
        {"writable": "HERE/../outside"},
        {"writable": "HERE/link"},
        {"writable": "room"},
        {"writable": "/usr/lib"},
        {"readable": ["/etc/shadow"]},
        {"readable": ["/usr/../etc"]},
        {"sockets": ["/run"]},
        {"capabilities": ["sys_admin"]},
    ],
    ids=str,
)
def test_what_no_engine_needs_is_refused(tmp_path: Path, wrong: dict[str, object]) -> None:
    (tmp_path / "link").symlink_to("/etc")
    text = json.dumps({**GOOD, **wrong}).replace("HERE", str(tmp_path))
    with pytest.raises(Art32Error) as raised:
        service.parse(text.encode(), tmp_path)
    assert raised.value.code is Code.PERMISSION


def test_what_an_engine_needs_is_taken(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    wanted = {
        **GOOD,
        "writable": f"{tmp_path}/room",
        "readable": ["/usr/lib"],
        "capabilities": ["chown"],
    }
    found = service.parse(json.dumps(wanted).encode(), tmp_path)
    assert (found.writable, found.capabilities) == (tmp_path / "room", ("chown",))


def test_many_programs_run_at_once(place: Path) -> None:
    argv = sandbox.confined(["sh", "-c", "read x; echo $x"], user=USER)
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(run.Process(argv, stdin=run.PIPE)) for _ in range(8)]
        for number, process in enumerate(several):
            process.stdin.write(b"%d\n" % number)
        said = [process.stdout.readline() for process in several]
    assert said == [b"%d\n" % number for number in range(8)]
