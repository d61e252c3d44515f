"""`art32 logs pipe` at full speed and at a given pace: lines a second, processor, drops, memory."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import open_scrubber
from tests.fixtures.ports import free_port

ROOT = Path(__file__).parent.parent.parent
MESSAGE = (
    '%s - - [24/Nov/2026:06:00:00 +0000] "GET /shop/%d?ref=%s HTTP/1.1" 200 %d '
    '"https://example.org/list" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like '
    'Gecko) Chrome/124.0.0.0 Safari/537.36"'
)
_BATCH = 64


def lines(count: int) -> list[bytes]:
    """Return messages of an access log, 28 in 100 from IPv6."""
    made = []
    for number in range(count):
        v4 = f"203.0.{number % 113}.{number % 251}"
        v6 = f"2001:db8:{number % 65521:x}:{number % 9973:x}::{number % 65519:x}"
        client = v6 if number % 100 < 28 else v4
        made.append((MESSAGE % (client, number, v4, number % 9000)).encode())
    return made


class Blast:
    """Sends the same few thousand datagrams again and again, many in one call (sendmmsg(2))."""

    def __init__(self, target: tuple[str, int], messages: Sequence[bytes]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(target)
        self._library = ctypes.CDLL(None, use_errno=True)
        self._kept = [ctypes.create_string_buffer(one, len(one)) for one in messages]
        self._vectors = (_Vector * len(messages))()
        self._headers = (_Header * len(messages))()
        for index, (buffer, one) in enumerate(zip(self._kept, messages, strict=True)):
            self._vectors[index].base = ctypes.cast(buffer, ctypes.c_void_p)
            self._vectors[index].length = len(one)
            self._headers[index].message.vectors = ctypes.pointer(self._vectors[index])
            self._headers[index].message.count = 1

    def send(self, seconds: float, per_second: float) -> int:
        """Send at a pace for some time; return how many went out."""
        sent, place, total = 0, 0, len(self._headers)
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            if sent > now * per_second:
                time.sleep(0.0005)
                continue
            done = self._library.sendmmsg(
                self._socket.fileno(), ctypes.byref(self._headers[place]), _BATCH, 0
            )
            if done < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            sent += done
            place = (place + _BATCH) % (total - _BATCH)
        self._socket.close()
        return sent


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    _fields_ = (("message", _Message), ("length", ctypes.c_uint))


@dataclass
class Served:
    """A running pipe and where it writes."""

    child: subprocess.Popen[bytes]
    directory: Path
    begun: float = 0

    def processor(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak(self) -> float:
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024

    def state(self) -> dict[str, int]:
        document: dict[str, int] = json.loads((self.directory / "state/pipe/p.json").read_text())
        return document


@contextmanager
def served(listen: str, *, scan: bool) -> Iterator[Served]:
    """Run one pipe that writes into memory."""
    directory = Path(tempfile.mkdtemp(prefix="art32-", dir="/dev/shm"))
    file = directory / "agent.toml"
    file.write_text(
        f'host = "h"\nstate_directory = "{directory}/state"\n[store]\nkind = "directory"\n'
        f'path = "{directory}"\n[logs.scan]\ndirectory = "{directory}/scan"\n[[logs.pipes]]\n'
        f'name = "p"\nlisten = "{listen.replace("DIRECTORY", str(directory))}"\n'
        f'to = "{directory}/out.log"\nscan = {str(scan).lower()}\n'
    )
    argv = [sys.executable, "-m", "agent", "--config", str(file), "logs", "pipe"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{directory}/notify")
        child = subprocess.Popen(
            argv, cwd=ROOT, env={**os.environ, "NOTIFY_SOCKET": f"{directory}/notify"}
        )
        try:
            ready.settimeout(60)
            assert b"READY" in ready.recv(100)
            yield Served(child, directory)
        finally:
            child.terminate()
            child.wait()
            shutil.rmtree(directory)


def paced(per_second: float, seconds: float, *, scan: bool = False) -> str:
    """Send datagrams at a pace; return a row."""
    port = free_port()
    messages = [b"<190>Nov 24 06:00:00 nginx: " + one for one in lines(8192)]
    with served(f"udp:127.0.0.1:{port}", scan=scan) as pipe:
        used = pipe.processor()
        begun = time.monotonic()
        sent = Blast(("127.0.0.1", port), messages).send(seconds, per_second)
        sending = time.monotonic() - begun
        out = pipe.directory / "out.log"
        size = -1
        while size != (size := out.stat().st_size):
            time.sleep(0.3)
        used = pipe.processor() - used
        pipe.child.terminate()
        peak = pipe.peak()
        pipe.child.wait()
        state = pipe.state()
        assert state["received"] + state["dropped"] == sent, "every datagram is accounted for"
        assert state["written"] == state["received"]
    return (
        f"{sent / sending:12,.0f} {used / sent * 1e6:9.2f} {used / sending * 100:6.0f} % "
        f"{state['dropped']:9,} {state['masked_bluntly']:9,} {peak:6.0f}"
    )


def streamed(count: int, *, scan: bool = False) -> str:
    """Send lines by a Unix stream as fast as they are taken; return a row."""
    block = b"".join(b"<190>Nov 24 06:00:00 nginx: " + one + b"\n" for one in lines(8192))
    with served("unix-stream:DIRECTORY/s", scan=scan) as pipe:
        used = pipe.processor()
        begun = time.monotonic()
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(str(pipe.directory / "s"))
            for _ in range(count // 8192):
                sender.sendall(block)
        out, expected = pipe.directory / "out.log", count // 8192 * 8192
        while out.stat().st_size == 0 or _last(out) != lines(8192)[-1][-30:]:
            time.sleep(0.01)
        taken = time.monotonic() - begun
        used = pipe.processor() - used
        peak = pipe.peak()
        pipe.child.terminate()
        pipe.child.wait()
        assert pipe.state()["written"] == expected
    return (
        f"{expected / taken:12,.0f} {used / expected * 1e6:9.2f} {used / taken * 100:6.0f} % "
        f"{'-':>9} {'-':>9} {peak:6.0f}"
    )


def _last(file: Path) -> bytes:
    with file.open("rb") as opened:
        opened.seek(-31, os.SEEK_END)
        return opened.read()[:-1]


def filtered(count: int, argv: Sequence[str]) -> str:
    """Put lines through a filter by a pipe, as Apache does; return a row."""
    directory = Path(tempfile.mkdtemp(prefix="art32-", dir="/dev/shm"))
    try:
        block = b"".join(one + b"\n" for one in lines(8192))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.monotonic()
        command = [one.replace("OUTPUT", f"{directory}/out.log") for one in argv]
        with (directory / "stdout").open("wb") as sink:
            child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=sink, stderr=subprocess.DEVNULL
            )
            assert child.stdin is not None
            for _ in range(count // 8192):
                child.stdin.write(block)
            child.stdin.close()
            assert child.wait() == 0
        taken = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        done = count // 8192 * 8192
        return (
            f"{done / taken:12,.0f} {used / done * 1e6:9.2f} {used / taken * 100:6.0f} % "
            f"{'-':>9} {'-':>9} {'-':>6}"
        )
    finally:
        shutil.rmtree(directory)


def table(count: int = 1_000_000) -> None:
    """Print lines a second side by side."""
    engine = open_scrubber(Scrub()).engine
    goal = "goal: 200,000 lines/s on two cores, nothing dropped"
    print(f"\nart32 logs pipe, scrubbed by the {engine} ({goal})")
    head = f"{'lines/s':>12} {'cpu us/l':>9} {'of core':>8} {'dropped':>9} {'blunt':>9} {'MiB':>6}"
    print(f"  {'':38} {head}")
    art32 = [sys.executable, "-m", "agent", "logs", "pipe", "--to", "OUTPUT"]
    rows: tuple[tuple[str, Callable[[], str]], ...] = (
        ("UDP, 200,000 lines/s for 5 s", lambda: paced(200_000, 5)),
        ("UDP, 200,000 lines/s, with scan", lambda: paced(200_000, 5, scan=True)),
        ("UDP, as fast as it can be sent, 3 s", lambda: paced(1e9, 3)),
        ("Unix stream", lambda: streamed(count)),
        ("Unix stream, with scan", lambda: streamed(count, scan=True)),
        ("standard input", lambda: filtered(count, art32)),
        ("cat", lambda: filtered(count, ["cat"])),
        ("sed -E, IPv4 alone", lambda: filtered(count, ["sed", "-E", _SED])),
    )
    for name, work in rows:
        print(f"  {name:38} {work()}", flush=True)


_SED = r"s/([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})\.[0-9]{1,3}/\1.0/g"
