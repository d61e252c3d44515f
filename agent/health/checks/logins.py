"""Failed logins that come in bursts: how many, never whose or from where (P1)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from agent.health.checks import Situation
from agent.health.result import Result, State, graded
from agent.logs import logins

_RUNBOOK = "login-burst"
_HINT = "art32 logs digest, or: journalctl --since=-1h --identifier=sshd"


def look(situation: Situation) -> Iterator[Result]:
    wanted = situation.config.health
    if not wanted.check_logins:
        return
    minutes = wanted.failed_logins_minutes
    found = logins.failed(situation.now - timedelta(minutes=minutes))
    if found is None:
        yield Result(
            "logins",
            State.UNKNOWN,
            f"neither the journal nor `{logins.AUTH_LOG}` can be read",
            hint="read as root or as a member of `adm`, or set `health.check_logins = false`",
        )
        return
    count = sum(found.values())
    state = graded(count, warn=wanted.failed_logins_warn, fail=wanted.failed_logins_fail)
    parts = ", ".join(f"{number} by {name}" for name, number in found.items() if number)
    yield Result(
        "logins",
        state,
        f"{count} logins have failed within {minutes} minutes{f': {parts}' if parts else ''}",
        count,
        "",
        wanted.failed_logins_fail,
        hint=None if state is State.OK else _HINT,
        runbook=None if state is State.OK else _RUNBOOK,
    )
