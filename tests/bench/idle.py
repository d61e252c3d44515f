"""What the resident processes cost when nothing happens: memory, and processor time by the clock.

Each is measured twice: freshly started, and after it has worked, when it holds what it will hold.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import logs_scan, pipe, wal
from tests.bench.measure import tree
from tests.bench.setting import Setting
from tests.fixtures.ports import free_port

ROOT = Path(__file__).parent.parent.parent
GOAL_MIB, GOAL_PERCENT = 60, 0.5
_SETTLE = 10.0
_LINES = 20_000


@dataclass
class Resident:
    """A process that has said it is ready, and what gives it something to do."""

    name: str
    child: subprocess.Popen[bytes]
    work: Callable[[], None]

    def memory(self) -> float:
        """Return the resident set of it and its children, in MiB."""
        return sum(_status(process, "VmRSS") for process in tree(self.child.pid)) / 1024

    def processor(self) -> float:
        """Return the seconds of processor time of it, its children, and those it has waited for."""
        return sum(_seconds(process) for process in tree(self.child.pid))


def _status(process: int, key: str) -> int:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{process}/status").read_text()
        return int(text.partition(f"{key}:")[2].split()[0])
    return 0


def _seconds(process: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(int(one) for one in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def table(setting: Setting, seconds: float) -> None:
    """Print memory and share of a core of each, all idle side by side for so many seconds."""
    goal = f"goal: at most {GOAL_MIB} MiB and under {GOAL_PERCENT} % of a core"
    print(f"\nresident processes, idle for {seconds:.0f} s ({goal})")
    print(f"  {'':34} {'fresh MiB':>9} {'of a core':>10} {'later MiB':>10} {'of a core':>10}")
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="art32-idle-")))
        residents = [
            stack.enter_context(one)
            for one in (
                _watch(place / "watch"),
                _pipe("art32 logs pipe", place / "pipe", scan=False),
                _pipe("art32 logs pipe, with scan", place / "scan", scan=True),
                _wal(setting, place / "wal"),
            )
        ]
        fresh = _idle(residents, seconds)
        for one in residents:
            one.work()
        later = _idle(residents, seconds)
        for one, before, after in zip(residents, fresh, later, strict=True):
            cells = f"{before[0]:9.1f} {before[1]:8.2f} % {after[0]:10.1f} {after[1]:8.2f} %"
            good = all(cell[0] <= GOAL_MIB and cell[1] < GOAL_PERCENT for cell in (before, after))
            print(f"  {one.name:34} {cells}{'' if good else '  over the goal'}", flush=True)


def _idle(residents: list[Resident], seconds: float) -> list[tuple[float, float]]:
    time.sleep(_SETTLE)
    before = [one.processor() for one in residents]
    begun = time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - begun
    used = [one.processor() - earlier for one, earlier in zip(residents, before, strict=True)]
    return [
        (one.memory(), 100 * share / lasted) for one, share in zip(residents, used, strict=True)
    ]


@contextlib.contextmanager
def _resident(
    name: str, place: Path, config: str, verb: list[str], work: Callable[[], None]
) -> Iterator[Resident]:
    """Run a verb until the block ends, and wait until it is ready, as systemd does."""
    place.mkdir(parents=True, exist_ok=True)
    file = place / "agent.toml"
    file.write_text(config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{place}/notify")
        heard.settimeout(60)
        child = subprocess.Popen(
            [sys.executable, "-m", "agent", "--config", str(file), *verb],
            cwd=ROOT,
            # as often as its unit has it say that it lives
            env={
                **os.environ,
                "NOTIFY_SOCKET": f"{place}/notify",
                "WATCHDOG_USEC": "60000000",
            },
            stdout=subprocess.DEVNULL,
            stderr=(place / "stderr").open("wb"),
        )
        try:
            while b"READY=1" not in heard.recv(1000):
                pass
            yield Resident(name, child, work)
        finally:
            child.terminate()
            child.wait()


def _logs(place: Path) -> str:
    return (
        f'host = "h"\nstate_directory = "{place}/state"\n[store]\nkind = "directory"\n'
        f'path = "{place}"\n[logs.scan]\ndirectory = "{place}/findings"\n'
    )


def _watch(place: Path) -> contextlib.AbstractContextManager[Resident]:
    place.mkdir()
    log = place / "access.log"
    log.write_text("")
    part = logs_scan.make(place / "part", 4 << 20, logs_scan.ordinary)

    def work() -> None:
        with log.open("ab") as opened:
            opened.write(part.read_bytes())

    config = _logs(place) + f'[[logs.watch.files]]\npath = "{log}"\n'
    return _resident("art32 logs watch", place, config, ["logs", "watch"], work)


def _pipe(name: str, place: Path, *, scan: bool) -> contextlib.AbstractContextManager[Resident]:
    port = free_port()
    config = _logs(place) + (
        f'[[logs.pipes]]\nname = "p"\nlisten = "udp:127.0.0.1:{port}"\nto = "{place}/out.log"\n'
        f"scan = {str(scan).lower()}\n"
    )

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number, line in enumerate(pipe.lines(_LINES)):
                sender.sendto(b"<190>Nov 24 06:00:00 nginx: " + line, ("127.0.0.1", port))
                if number % 64 == 0:
                    time.sleep(0.002)

    return _resident(name, place, config, ["logs", "pipe"], work)


@contextlib.contextmanager
def _wal(setting: Setting, place: Path) -> Iterator[Resident]:
    """The service beside a real server, whose first segment it ships."""
    with wal.cluster(1) as (data, (name,)):
        store = data.parent / "idle-store"
        store.mkdir()
        address = data.parent / "idle.sock"
        setting.write_config(stream_gib=1)
        text = setting.config.read_text()
        text = text.replace(f'path = "{setting.store}"', f'path = "{store}"', 1)
        text = text.replace(f'"{setting.base}/state"', f'"{place}/state"', 1)
        text += f'\n[wal]\nsocket = "{address}"\nclients = ["{wal.USER}"]\n'

        def work() -> None:
            push = [setting.art32, "wal", "push", "--socket", str(address), f"pg_wal/{name}"]
            subprocess.run(push, cwd=data, check=True, capture_output=True)
            assert any(store.rglob("*.pgp")), "the segment has not been shipped"

        with _resident("art32 wal serve", place, text, ["wal", "serve"], work) as resident:
            yield resident
