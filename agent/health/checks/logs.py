"""Logs: raw segments that wait for too long, and the attacks that the scan has found."""

from __future__ import annotations

from collections.abc import Iterator

from agent.health.checks import Situation
from agent.health.result import Result, State, graded
from agent.logs import health

_HOUR = 3600.0


def look(situation: Situation) -> Iterator[Result]:
    config, now = situation.config, situation.now
    limit = config.health.raw_logs_warn_hours
    for name, oldest in health.oldest_raw(config).items():
        hours = 0.0 if oldest is None else (now - oldest).total_seconds() / _HOUR
        yield Result(
            f"log:{name}",
            graded(hours, warn=limit, fail=24 * limit),
            "no raw segment waits"
            if oldest is None
            else f"a raw segment has waited for {hours:.1f} h",
            round(hours, 2),
            "h",
            24 * limit,
            f"art32 logs rotate {name}",
            "log-rotation-failed",
        )
    bursts = health.findings(config, now)
    if bursts is not None:
        worst = sum(1 for severity in bursts if severity in ("high", "critical"))
        yield Result(
            "attacks",
            State.WARN if worst else State.OK,
            f"{len(bursts)} findings in force, {worst} of them severe",
            len(bursts),
            hint="art32 logs digest",
            runbook="host-compromised" if worst else None,
        )
