"""Runs a command as a whole: wall time, processor time, and the memory of all its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and processor time, and the largest PSS seen, in bytes (0: not sampled)."""

    wall: float
    cpu: float
    memory: int


def tree(root: int) -> list[int]:
    """Return the process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, [])
    return found


def _pss(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def run(
    argv: Sequence[str] | str,
    *,
    sample_memory: bool = False,
    environment: Mapping[str, str] | None = None,
    expect: Sequence[int] = (0,),
) -> Measured:
    """Run a command (text is run by bash with pipefail); raise when its status is not expected."""
    line = ["bash", "-c", f"set -o pipefail; {argv}"] if isinstance(argv, str) else list(argv)
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    child = subprocess.Popen(
        line,
        # as installed: modules are compiled once and not whenever a program starts
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    peak = 0
    errors: list[bytes] = []
    assert child.stderr is not None
    reader = threading.Thread(target=lambda: errors.append(child.stderr.read()))  # type: ignore[union-attr]
    reader.start()
    while child.poll() is None:
        if sample_memory:
            peak = max(peak, sum(_pss(process) for process in tree(child.pid)))
        time.sleep(0.05 if sample_memory else 0.005)
    wall = time.monotonic() - begun
    reader.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode not in expect:
        tail = b"".join(errors).decode("utf-8", "replace")[-600:]
        raise RuntimeError(f"{line[:3]}... exited with {child.returncode}: {tail}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, peak)
