"""Room on the disks: bytes, inodes, and when the trend fills them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from agent import output
from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_HOUR = 3600.0
_SHORTEST_TREND = 600.0
_RUNBOOK = "disk-full"


def look(situation: Situation) -> Iterator[Result]:
    wanted = situation.config.health
    for place in wanted.mounts:
        name = f"disk:{place}"
        try:
            found = os.statvfs(place)
        except OSError as error:
            yield Result(name, State.UNKNOWN, f"`{place}` cannot be looked at: {error.strerror}")
            continue
        # what root may still use is no room for anyone else (statvfs(3), f_bavail)
        usable = found.f_blocks - found.f_bfree + found.f_bavail
        used = 100 * (1 - found.f_bavail / usable) if usable else 100.0
        free = found.f_bavail * found.f_frsize
        yield Result(
            name,
            graded(used, warn=wanted.disk_warn_percent, fail=wanted.disk_fail_percent),
            f"{used:.0f} % used, {output.size(free)} free",
            round(used, 1),
            "%",
            wanted.disk_fail_percent,
            f"du --one-file-system --max-depth=2 {place} | sort --numeric-sort",
            _RUNBOOK,
        )
        if found.f_files:
            inodes = 100 * (1 - found.f_favail / found.f_files)
            yield Result(
                f"inodes:{place}",
                graded(inodes, warn=wanted.disk_warn_percent, fail=wanted.disk_fail_percent),
                f"{inodes:.0f} % of the inodes used",
                round(inodes, 1),
                "%",
                wanted.disk_fail_percent,
                f"du --inodes --one-file-system --max-depth=2 {place}",
                _RUNBOOK,
            )
        samples = situation.memory.sample(name, situation.now, float(free))
        hours = hours_to_full(samples)
        if hours is not None:
            yield Result(
                f"disk-trend:{place}",
                graded(
                    -hours,
                    warn=-3 * wanted.disk_full_within_hours,
                    fail=-wanted.disk_full_within_hours,
                ),
                f"full in {hours:.0f} h at the present rate",
                round(hours, 1),
                "h",
                wanted.disk_full_within_hours,
                None,
                _RUNBOOK,
            )


def hours_to_full(samples: Sequence[tuple[float, float]]) -> float | None:
    """Given free bytes over time, return the hours until they are gone by the line of least
    squares; None when they do not shrink, or when there is too little to tell."""
    if len(samples) < 3 or samples[-1][0] - samples[0][0] < _SHORTEST_TREND:
        return None
    mean_time = sum(moment for moment, _ in samples) / len(samples)
    mean_free = sum(free for _, free in samples) / len(samples)
    spread = sum((moment - mean_time) ** 2 for moment, _ in samples)
    slope = sum((moment - mean_time) * (free - mean_free) for moment, free in samples) / spread
    if slope >= 0:
        return None
    return samples[-1][1] / -slope / _HOUR
