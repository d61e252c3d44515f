"""Memory, swap and load, and what waits for them (pressure stall information)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_PRESSURE = Path("/proc/pressure")


def look(situation: Situation) -> Iterator[Result]:
    wanted = situation.config.health
    memory = psutil.virtual_memory()
    yield Result(
        "memory",
        graded(
            memory.percent, warn=0.9 * wanted.memory_fail_percent, fail=wanted.memory_fail_percent
        ),
        f"{memory.percent:.0f} % of the memory in use",
        memory.percent,
        "%",
        wanted.memory_fail_percent,
        "ps -eo pid,rss,comm --sort=-rss | head",
    )
    swap = psutil.swap_memory()
    if swap.total:
        yield Result(
            "swap",
            graded(swap.percent, warn=50, fail=90),
            f"{swap.percent:.0f} % of the swap in use",
            swap.percent,
            "%",
            90,
        )
    per_processor = psutil.getloadavg()[2] / (psutil.cpu_count() or 1)
    yield Result(
        "load",
        graded(per_processor, warn=2, fail=8),
        f"{per_processor:.1f} tasks a processor over 15 minutes",
        round(per_processor, 2),
        "",
        8,
    )
    for kind in ("cpu", "io", "memory"):
        yield _pressure(kind, wanted.pressure_warn_percent)


def _pressure(kind: str, warn: float) -> Result:
    """Read the share of five minutes in which some task stood still (kernel's PSI)."""
    name = f"pressure:{kind}"
    try:
        line = (_PRESSURE / kind).read_text().splitlines()[0]
        value = float(line.split("avg300=")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return Result(name, State.UNKNOWN, "the kernel gives no pressure information")
    return Result(
        name,
        graded(value, warn=warn, fail=3 * warn),
        f"tasks waited for {kind} in {value:.0f} % of five minutes",
        value,
        "%",
        3 * warn,
    )
