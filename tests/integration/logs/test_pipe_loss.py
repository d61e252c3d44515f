"""Which way loses what: numbered lines, senders at full speed, kills, restarts, overflow."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.logs.pipe.sockets import enlarge, queue
from tests.fixtures.daemons import Place
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE, until

TEXT = f'203.0.113.77 - - [24/Nov/2026:06:00:00 +0000] "GET /{"x" * 400} HTTP/1.1" 200 612'
WRITER = """
import os, signal, sys
count, text, stops = int(sys.argv[1]), sys.argv[2], []
signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
number = 0
while number < count and not stops:
    end = min(number + 8, count)
    lines = [f"{n:09d} {text}\\n" for n in range(number, end)]
    os.write(1, "".join(lines).encode())  # less than PIPE_BUF: one piece
    number = end
sys.stderr.write(str(number))
"""


def numbers(*files: Path, torn: int = 0) -> collections.Counter[int]:
    """Return how often each number is there; at most so many lines may be the head of one."""
    found: collections.Counter[int] = collections.Counter()
    shape = re.compile(r"(\d{9}) " + re.escape(TEXT.replace(".77", ".0")))
    whole = f"{0:09d} {TEXT}".replace(".77", ".0")
    for file in files:
        for line in file.read_text().splitlines():
            if match := shape.fullmatch(line):
                found[int(match[1])] += 1
            else:
                torn -= 1
                assert torn >= 0, line
                assert whole[10:].startswith(line[10:]), line
    return found


@contextlib.contextmanager
def writer(descriptor: int, count: int = 10**9) -> Iterator[subprocess.Popen[bytes]]:
    """Write numbered lines as fast as the reader takes them, by default until it is stopped."""
    argv = [sys.executable, "-c", WRITER, str(count), TEXT]
    child = subprocess.Popen(argv, stdout=descriptor, stderr=subprocess.PIPE)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def stopped(sender: subprocess.Popen[bytes]) -> int:
    """Stop a writer and return how many lines it has written."""
    sender.terminate()
    _, count = sender.communicate(timeout=PATIENCE)
    assert sender.returncode == 0
    return int(count)


@contextlib.contextmanager
def on_standard_input(
    place: Place, descriptor: int, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `art32 logs pipe --to` with that descriptor as standard input, as Apache does."""
    errors = place.directory / "stdin.err"
    with errors.open("ab") as sink:
        child = subprocess.Popen(
            [str(place.art32), "logs", "pipe", "--to", str(place.log("x.log")), *options],
            stdin=descriptor,
            stderr=sink,
            stdout=subprocess.DEVNULL,
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_half_a_line_waits_without_work_and_is_written_when_it_is_whole(place: Place) -> None:
    reading, writing = os.pipe()
    with on_standard_input(place, reading) as child:
        os.close(reading)
        whole = f"{1:09d} {TEXT}\n{2:09d} {TEXT}\n".encode()
        os.write(writing, whole[:-40])
        until(grown(place.log("x.log")), "the first line")
        time.sleep(0.5)
        os.write(writing, whole[-40:])
        until(lambda: place.read("x.log").count("\n") == 2, "the second line")
        os.close(writing)
        assert child.wait(PATIENCE) == 0
    assert numbers(place.log("x.log")) == collections.Counter([1, 2])


def grown(file: Path, more: int = 0) -> Callable[[], bool]:
    """Return whether a file has more bytes than now."""
    before = file.stat().st_size if file.exists() else 0
    return lambda: file.exists() and file.stat().st_size > before + more


def test_a_kill_loses_nothing_while_somebody_holds_the_pipe(place: Place) -> None:
    reading, writing = os.pipe()
    log = place.log("x.log")
    with writer(writing) as sender:
        os.close(writing)
        for kill in range(4):
            with on_standard_input(place, reading) as child:
                until(grown(log, 200_000 * kill), "something is written")
                child.send_signal(signal.SIGKILL)
                child.wait()
        with on_standard_input(place, reading) as child:
            count = stopped(sender)
            assert child.wait(PATIENCE) == 0
    os.close(reading)
    found = numbers(log, torn=4)
    assert sorted(found) == list(range(count))
    twice = sum(times - 1 for times in found.values())
    assert twice <= 4 * 600, "at most one block for each kill"


def test_a_first_sigterm_waits_for_the_last_writer(place: Place) -> None:
    reading, writing = os.pipe()
    count, log = 6_000, place.log("x.log")
    with writer(writing, count) as sender, on_standard_input(place, reading) as child:
        os.close(reading)
        until(grown(log), "something is written")
        child.terminate()
        until(lambda: not pends(child.pid, signal.SIGTERM), "the signal is taken")
        assert sender.wait(PATIENCE) == 0
        assert child.poll() is None
        os.close(writing)  # until now this process is the last writer, however fast the other is
        assert child.wait(PATIENCE) == 0
    assert numbers(log) == collections.Counter(range(count))


def test_a_second_sigterm_ends_it_and_leaves_the_rest_in_the_pipe(place: Place) -> None:
    reading, writing = os.pipe()
    os.write(writing, f"{1:09d} {TEXT}\n{2:09d} 203.0.".encode())
    with on_standard_input(place, reading) as child:
        until(grown(place.log("x.log")), "the first line")
        child.terminate()
        until(lambda: not pends(child.pid, signal.SIGTERM), "the first is taken: two are not one")
        time.sleep(0.2)
        assert child.poll() is None
        child.terminate()
        assert child.wait(PATIENCE) == 0
    assert os.read(reading, 100) == b"000000002 203.0."
    assert list(numbers(place.log("x.log"))) == [1]


def pends(process: int, number: signal.Signals) -> bool:
    """Return whether a signal waits for a process: another of its kind would be lost."""
    status = Path(f"/proc/{process}/status").read_text()
    waiting = re.findall(r"^(?:Sig|Shd)Pnd:\s+(\w+)$", status, re.M)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in waiting)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_fifo_that_systemd_holds_loses_nothing(place: Place, number: signal.Signals) -> None:
    fifo = place.path("/run/art32") / "f"
    os.mkfifo(fifo, 0o600)
    place.configure(
        f'[[logs.pipes]]\nname = "f"\nlisten = "fifo:{fifo}"\nto = "{place.log("x.log")}"\n'
    )
    held = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY)
    count, log = 8_000, place.log("x.log")
    with writer(writing, count) as sender:
        os.close(writing)
        for _ in range(3):
            with place.pipe(held=held) as pipe:
                more = grown(log)
                until(lambda more=more: more() or sender.poll() is not None, "more")  # type: ignore[misc]
                assert pipe.stop(number) == (0 if number is signal.SIGTERM else -9)
        with place.pipe(held=held) as pipe:
            assert sender.wait(PATIENCE) == 0
            until(lambda: b"%09d" % (count - 1) in log.read_bytes()[-1000:], "the last line")
            assert pipe.stop() == 0
    os.close(held)
    kills = 0 if number is signal.SIGTERM else 3
    found = numbers(log, torn=kills)
    assert sorted(found) == list(range(count))
    twice = sum(times - 1 for times in found.values())
    assert twice <= kills * 600, "at most one block for each kill"


def test_a_unix_stream_loses_nothing_that_was_accepted_when_it_is_stopped(place: Place) -> None:
    address = place.path("/run/art32") / "s"
    place.configure(
        f'[[logs.pipes]]\nname = "s"\nlisten = "unix-stream:{address}"\n'
        f'to = "{place.log("x.log")}"\nformat = "lines"\n'
    )
    count = 6_000
    sent = threading.Event()

    def send() -> None:
        """Send line after line, each once more from its beginning when it was not accepted."""
        number, connection = 0, None
        while number < count:
            if connection is None:
                connection = socket.socket(socket.AF_UNIX)
                try:
                    connection.connect(str(address))
                except OSError:
                    connection.close()
                    connection = None
                    time.sleep(0.01)
                    continue
            try:
                done = connection.send(f"{number:09d} {TEXT}\n".encode())
                assert done == 10 + len(TEXT) + 1
                number += 1
            except (BrokenPipeError, ConnectionResetError):
                connection.close()
                connection = None
        assert connection is not None
        connection.close()
        sent.set()

    thread = threading.Thread(target=send)
    log = place.log("x.log")
    for _ in range(4):
        with place.pipe() as pipe:
            if thread.ident is None:
                thread.start()
            more = grown(log)
            until(lambda more=more: more() or sent.is_set(), "more")  # type: ignore[misc]
            assert pipe.stop() == 0, pipe.said()
            assert not address.exists()
    with place.pipe() as pipe:
        thread.join(PATIENCE)
        assert sent.is_set()
        assert pipe.stop() == 0
    found = numbers(log)
    assert sorted(found) == list(range(count))
    assert set(found.values()) == {1}


def counted(place: Place, name: str) -> dict[str, object]:
    import json

    document: dict[str, object] = json.loads(
        (place.path("/var/lib/art32") / "pipe" / f"{name}.json").read_text()
    )
    return document


def test_every_datagram_that_is_dropped_is_counted_by_the_kernel(place: Place) -> None:
    port = free_port()
    place.configure(
        f'[[logs.pipes]]\nname = "u"\nlisten = "udp:127.0.0.1:{port}"\n'
        f'to = "{place.log("x.log")}"\nformat = "lines"\nreceive_buffer = 262144\n'
    )
    count = 6_000
    with place.pipe() as pipe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        pipe.child.send_signal(signal.SIGSTOP)
        sender.connect(("127.0.0.1", port))
        for number in range(count):
            sender.send(f"{number:09d} {TEXT}".encode())
        pipe.child.send_signal(signal.SIGCONT)
        until(lambda: place.log("x.log").stat().st_size > 0, "the rest is written")
        pipe.child.send_signal(signal.SIGUSR1)
        until(lambda: "dropped by the kernel" in pipe.said(), "a report")
        assert pipe.stop() == 20
    there = place.read("x.log").count("\n")  # without the kernel some of them masked bluntly
    state = counted(place, "u")
    assert 0 < there < count
    assert count - there == state["dropped"]
    assert state["received"] == state["written"] == there
    assert f"{count - there} dropped by the kernel" in pipe.said()
    assert "203.0.113" not in pipe.said()


def test_a_udp_socket_that_systemd_holds_loses_nothing_when_the_pipe_is_stopped(
    place: Place,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        enlarge(held, 64 << 20)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        place.configure(
            f'[[logs.pipes]]\nname = "u"\nlisten = "udp:127.0.0.1:{port}"\n'
            f'to = "{place.log("x.log")}"\nformat = "lines"\n'
        )
        count, log = 6_000, place.log("x.log")
        stop = threading.Event()

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", port))
                for number in range(count):
                    sender.send(f"{number:09d} {TEXT}".encode())
                    if number % 50 == 0:
                        time.sleep(0.001)
            stop.set()

        thread = threading.Thread(target=send)
        thread.start()
        while not stop.is_set():
            with place.pipe(held=held.fileno()) as pipe:
                more = grown(log)
                until(lambda more=more: more() or stop.is_set(), "more")  # type: ignore[misc]
                assert pipe.stop() in (0, 20)
        thread.join()
        with place.pipe(held=held.fileno()) as pipe:
            until(lambda: queue(held).used == 0, "an empty queue")
            assert pipe.stop() in (0, 20)
    found = numbers(log)
    assert set(found.values()) == {1}
    assert count - len(found) == counted(place, "u")["dropped"]


def test_a_blocking_sender_of_unix_datagrams_waits_and_loses_nothing(place: Place) -> None:
    address = place.path("/run/art32") / "d"
    place.configure(
        f'[[logs.pipes]]\nname = "d"\nlisten = "unix-datagram:{address}"\n'
        f'to = "{place.log("x.log")}"\nformat = "lines"\n'
    )
    count = 4_000
    with place.pipe() as pipe, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(address))
        for number in range(count):
            sender.send(f"{number:09d} {TEXT}".encode())
        assert pipe.stop() == 0
        with pytest.raises((BrokenPipeError, ConnectionRefusedError, ConnectionResetError)):
            sender.send(b"too late")
    assert numbers(place.log("x.log")) == collections.Counter(range(count))


def test_reopening_at_full_speed_neither_loses_nor_doubles_a_line(place: Place) -> None:
    reading, writing = os.pipe()
    log = place.log("x.log")
    with writer(writing) as sender, on_standard_input(place, reading) as child:
        os.close(writing)
        os.close(reading)
        for turn in range(5):
            until(grown(log), "something is written")
            log.rename(place.log(f"x.log.{turn}"))
            child.send_signal(signal.SIGHUP)
        count = stopped(sender)
        assert child.wait(PATIENCE) == 0
    files = list(place.path("/var/log/art32").iterdir())
    assert len(files) == 6
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}
    assert numbers(*files) == collections.Counter(range(count))


@contextlib.contextmanager
def small_disk(directory: Path, size: int) -> Iterator[None]:
    """Mount a tmpfs of so many bytes there."""
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    done = subprocess.run(options, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_holds_the_writer_up_and_loses_nothing(place: Place) -> None:
    reading, writing = os.pipe()
    count, log = 6_000, place.log("x.log")
    errors = place.directory / "stdin.err"
    with small_disk(log.parent, 4 << 20):
        ballast = log.parent / "ballast"
        ballast.write_bytes(bytes((4 << 20) - (200 << 10)))
        with writer(writing, count) as sender, on_standard_input(place, reading) as child:
            os.close(writing)
            os.close(reading)
            until(lambda: errors.exists() and "cannot be written" in errors.read_text(), "full")
            time.sleep(1.5)  # longer than until the next attempt
            assert sender.poll() is None
            assert errors.read_text().count("cannot be written") == 1
            assert "no space left on device" in errors.read_text()
            ballast.unlink()
            assert sender.wait(PATIENCE) == 0
            assert child.wait(PATIENCE) == 0
        assert numbers(log) == collections.Counter(range(count))
    assert "is written again after" in errors.read_text()
    assert "203.0.113" not in errors.read_text()


def test_stopped_on_a_full_disk_it_says_what_is_lost_and_leaves_the_pipe_alone(
    place: Place,
) -> None:
    reading, writing = os.pipe()
    log, errors = place.log("x.log"), place.directory / "stdin.err"
    with small_disk(log.parent, 64 << 10):
        (log.parent / "ballast").write_bytes(bytes(60 << 10))
        lines = b"".join(b"%09d %s\n" % (number, TEXT.encode()) for number in range(100))
        os.write(writing, lines)
        with on_standard_input(place, reading) as child:
            until(lambda: "cannot be written" in errors.read_text(), "full")
            child.terminate()
            child.terminate()
            assert child.wait(PATIENCE) == 13
        found = numbers(log, torn=1)
    assert f"{100 - len(found)} lines of the pipe" in errors.read_text()
    assert os.read(reading, len(lines) + 1) == lines


def test_datagrams_that_come_on_a_full_disk_are_dropped_and_counted(place: Place) -> None:
    port = free_port()
    place.configure(
        f'[[logs.pipes]]\nname = "u"\nlisten = "udp:127.0.0.1:{port}"\n'
        f'to = "{place.log("x.log")}"\nformat = "lines"\nreceive_buffer = 262144\n'
        '[[logs.pipes]]\nname = "other"\nlisten = "udp:127.0.0.1:%d"\n'
        % (other := free_port())
        + f'to = "{place.path("/run/art32") / "other.log"}"\nformat = "lines"\n'
    )
    count, log = 5000, place.log("x.log")
    with small_disk(log.parent, 1 << 20), place.pipe() as pipe:
        ballast = log.parent / "ballast"
        ballast.write_bytes(bytes((1 << 20) - (64 << 10)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(count):
                sender.sendto(f"{number:09d} {TEXT}".encode(), ("127.0.0.1", port))
            until(lambda: "cannot be written" in pipe.said(), "full")
            sender.sendto(b"another pipe goes on", ("127.0.0.1", other))
        until(grown(place.path("/run/art32") / "other.log", -1), "the other pipe")
        ballast.unlink()
        until(lambda: "is written again" in pipe.said(), "room")
        assert pipe.stop() == 20
        there = log.read_bytes().count(b"\n")
    assert 0 < count - there == counted(place, "u")["dropped"]


def test_memory_stays_small_and_an_idle_pipe_sleeps(place: Place) -> None:
    port, address = free_port(), place.path("/run/art32") / "s"
    place.configure(
        f'[[logs.pipes]]\nname = "u"\nlisten = "udp:127.0.0.1:{port}"\n'
        f'to = "{place.log("x.log")}"\n'
        f'[[logs.pipes]]\nname = "s"\nlisten = "unix-stream:{address}"\n'
        f'to = "{place.log("s.log")}"\n'
    )

    def status(key: str) -> int:
        text = Path(f"/proc/{pipe.child.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+)", text, re.M)[1])  # type: ignore[index]

    def saved(name: str) -> object:
        return (place.path("/var/lib/art32") / "pipe" / f"{name}.json").exists() and counted(
            place, name
        )["written"]

    def sleeps() -> bool:
        before = status("voluntary_ctxt_switches")
        time.sleep(2)
        return status("voluntary_ctxt_switches") - before <= 1

    with place.pipe() as pipe, contextlib.ExitStack() as senders:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(5000):
                sender.sendto(b"<13>Nov 24 06:00:00 a: " + b"x" * 1000, ("127.0.0.1", port))
        for _ in range(100):  # each in the middle of a very long line
            connection = senders.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(str(address))
            connection.sendall(b"y" * 60_000)
        until(lambda: b"x" * 1000 in place.log("x.log").read_bytes()[-2000:], "all is written")
        until(lambda: saved("u") == place.read("x.log").count("\n"), "the counts are saved")
        until(sleeps, "it sleeps")
        assert status("VmHWM") < 60 << 10
        senders.close()
        assert pipe.stop() in (0, 20)
