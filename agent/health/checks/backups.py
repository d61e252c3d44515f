"""The newest good backup of each source, and the last drills, as this machine's ledger has them."""

from __future__ import annotations

from collections.abc import Iterator

from agent import clock
from agent.backup.drill.record import Standing
from agent.backup.health import LastBackup, drills, last_backups
from agent.errors import Art32Error
from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_HOUR = 3600.0


def look(situation: Situation) -> Iterator[Result]:
    limit = situation.config.health.backup_fail_hours
    try:
        found = last_backups(situation.config)
        standings = drills(situation.config, situation.now)
    except Art32Error as error:
        yield Result("ledger", State.FAIL, error.sentence, hint=error.hint, runbook=error.runbook)
        return
    for one in found:
        yield _backup(situation, one, min(limit, one.limit_hours or limit))
    for standing in standings:
        yield _drill(standing)


def _drill(standing: Standing) -> Result:
    detail = (
        f"last did well {clock.iso(standing.last_good)}"
        if standing.last_good
        else "has never done well on this machine"
    )
    if standing.last_result not in ("ok", None):
        detail += f"; the last result is: {standing.last_result}"
    return Result(
        f"drill:{standing.name}",
        State.FAIL if standing.overdue else State.OK,
        detail,
        hint="art32 drill status",
        runbook="key-lost" if standing.name.startswith("key ") else "drill-failed",
    )


def _backup(situation: Situation, one: LastBackup, limit: float) -> Result:
    name = f"backup:{one.source}"
    if one.finished is None:
        return Result(
            name,
            State.FAIL,
            "this host's ledger knows of no good backup",
            threshold=limit,
            hint=f"art32 backup run {one.source}",
            runbook="backup-stale",
        )
    hours = (situation.now - one.finished).total_seconds() / _HOUR
    state = graded(hours, fail=limit)
    if hours < 0:
        state = State.UNKNOWN
    failed = f"; the last run failed: {one.last_result}" if one.last_result != "ok" else ""
    if failed and state is State.OK:
        state = State.WARN
    return Result(
        name,
        state,
        f"the newest good one is {hours:.1f} h old, by this host's own ledger{failed}",
        round(hours, 2),
        "h",
        limit,
        f"art32 backup run {one.source}",
        "backup-failed" if failed else "backup-stale",
    )
