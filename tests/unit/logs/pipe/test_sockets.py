"""Entrances: what stands in the way is not removed, who may connect is said, drops are counted."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from agent.config.logs_pipe import LogPipe
from agent.errors import Art32Error, Code
from agent.logs.pipe import sockets
from agent.logs.pipe.sockets import Passed
from tests.fixtures.databases import short_directory
from tests.fixtures.ports import free_port


def pipe(listen: str, **more: object) -> LogPipe:
    return LogPipe.model_validate({"name": "a", "listen": listen, "to": "/a.log", **more})


def opened(listen: str, **more: object) -> sockets.Entrance:
    return sockets.open_entrance(pipe(listen, **more), Passed())


def test_a_socket_has_its_mode_from_the_first_moment_and_is_removed_at_the_end() -> None:
    with short_directory() as directory:
        for kind in ("unix-stream", "unix-datagram"):
            listen = f"{kind}:{directory}/s"
            entrance = opened(listen, socket_mode="0620")
            assert (directory / "s").stat().st_mode & 0o777 == 0o620
            sockets.remove(entrance, pipe(listen).endpoint)
            assert not (directory / "s").exists()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not() -> None:
    with short_directory() as directory:
        for kind in ("unix-stream", "unix-datagram"):
            listen = f"{kind}:{directory}/{kind}"
            first = opened(listen)
            with pytest.raises(Art32Error, match="another process listens") as refused:
                opened(listen)
            assert refused.value.code is Code.LOCKED
            assert first.socket is not None
            first.socket.close()  # as a kill does: the name stays
            sockets.remove(opened(listen), pipe(listen).endpoint)


@pytest.mark.parametrize("kind", ["unix-stream", "unix-datagram", "fifo"])
@pytest.mark.parametrize("thing", ["file", "symlink", "directory"])
def test_something_else_in_its_place_is_left_alone(tmp_path: Path, kind: str, thing: str) -> None:
    with short_directory() as directory:
        path, precious = directory / "p", tmp_path / "precious"
        precious.write_text("raw lines of a daemon")
        match thing:
            case "file":
                path.write_text("raw lines of a daemon")
            case "symlink":
                path.symlink_to(precious)
            case "directory":
                path.mkdir()
        with pytest.raises(Art32Error) as refused:
            opened(f"{kind}:{path}")
        assert refused.value.code in (Code.TARGET_EXISTS, Code.SOURCE_MISSING)
        assert refused.value.hint
        assert path.is_dir() or path.read_text() == "raw lines of a daemon"


def test_two_readers_never_share_a_fifo() -> None:
    with short_directory() as directory:
        listen = f"fifo:{directory}/f"
        first = opened(listen, socket_mode="0600")
        assert stat.S_ISFIFO((directory / "f").stat().st_mode)
        assert (directory / "f").stat().st_mode & 0o777 == 0o600
        with pytest.raises(Art32Error, match="another process listens"):
            opened(listen)
        sockets.remove(first, pipe(listen).endpoint)
        assert (directory / "f").exists()  # else a daemon would make a file of it
        sockets.remove(opened(listen), pipe(listen).endpoint)


def test_a_port_that_is_taken_and_a_group_that_is_unknown_are_clear_errors() -> None:
    port = free_port()
    first = opened(f"udp:127.0.0.1:{port}")
    with pytest.raises(Art32Error, match=f"listens on `udp:127.0.0.1:{port}`"):
        opened(f"udp:127.0.0.1:{port}")
    sockets.remove(first, pipe(f"udp:127.0.0.1:{port}").endpoint)
    with short_directory() as directory, pytest.raises(Art32Error, match="no group `nosuch`"):
        opened(f"unix-stream:{directory}/s", socket_group="nosuch")


def test_the_kernels_counter_is_what_was_sent_and_never_came() -> None:
    entrance = opened(f"udp:127.0.0.1:{free_port()}", receive_buffer=65536)
    receiver = entrance.socket
    assert receiver is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(1000):
            sender.sendto(b"x" * 500, receiver.getsockname())
    assert sockets.queue(receiver).used > 0
    came = 0
    while True:
        try:
            receiver.recv(1000)
        except BlockingIOError:
            break
        came += 1
    assert sockets.queue(receiver).dropped == 1000 - came > 0
    receiver.close()


def test_a_descriptor_of_systemd_is_found_by_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with short_directory() as directory:
        fifo = directory / "f"
        os.mkfifo(fifo)
        held = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        stream = socket.socket(socket.AF_UNIX)
        stream.bind(str(directory / "s"))
        stream.listen()
        passed = Passed()
        passed.descriptors = [held, udp.fileno(), stream.fileno()]
        port = udp.getsockname()[1]
        for listen, descriptor in (
            (f"udp:127.0.0.1:{port}", udp.fileno()),
            (f"unix-stream:{directory}/s", stream.fileno()),
            (f"fifo:{fifo}", held),
        ):
            assert passed.take(pipe(f"unix-datagram:{directory}/s").endpoint) is None
            assert passed.take(pipe(listen).endpoint) == descriptor
        assert passed.descriptors == []
        os.close(held)
        udp.close()
        stream.close()


def test_descriptors_of_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert Passed().descriptors == []
    assert "LISTEN_FDS" not in os.environ
