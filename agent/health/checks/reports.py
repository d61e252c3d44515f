"""Reports to Rollbar: whether they arrive. Nothing to look at where none are configured."""

from __future__ import annotations

from collections.abc import Iterator

from agent import report
from agent.health.checks import Situation
from agent.health.result import Result, State, graded
from agent.report.drain import standing

_WARN_HOURS, _FAIL_HOURS = 1.0, 24.0


def look(situation: Situation) -> Iterator[Result]:
    config = situation.config
    if not report.wanted(config):
        return
    hint, runbook = "art32 report test", "rollbar-silent"
    try:
        found = standing(config, report.open_queue(config))
    except OSError as error:
        reason = f"the queue cannot be read: {error.strerror}"
        yield Result("reports", State.UNKNOWN, reason, hint=hint, runbook=runbook)
        return
    oldest = found["oldest"]
    hours = 0.0 if oldest is None else max(0.0, situation.now.timestamp() - oldest) / 3600
    state = graded(hours, warn=_WARN_HOURS, fail=_FAIL_HOURS)
    detail = f"{found['waiting']} reports wait"
    if oldest is not None:
        detail += f", the oldest for {hours:.1f} h"
    if found["why"]:
        detail += f", {found['failures']} tries have failed: {found['why']}"
    if found["dropped"]:
        detail += f", {found['dropped']} were dropped for want of room"
        state = State.WARN if state is State.OK else state
    detail += f"; last success: {found['last_success'] or 'never'}"
    yield Result(
        "reports",
        state,
        detail,
        round(hours, 2),
        "h",
        _FAIL_HOURS,
        hint=None if state is State.OK else hint,
        runbook=None if state is State.OK else runbook,
    )
