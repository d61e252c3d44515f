"""How far PostgreSQL's archiver is behind, how large pg_wal is, and what the service last did."""

from __future__ import annotations

from collections.abc import Iterator

from agent import output
from agent.backup.wal import health
from agent.backup.wal.health import Standing
from agent.backup.wal.state import Status
from agent.errors import Art32Error
from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_RUNBOOK = "wal-archiving-failed"
_HINT = "journalctl --unit=art32-wal --since=-1h"
_TIMEOUT = 60  # seconds for which a change may be on one machine alone


def look(situation: Situation) -> Iterator[Result]:
    settings = situation.config.wal
    if settings is None:
        return
    yield _service(health.service(situation.config))
    try:
        found = health.standing(situation.config)
    except Art32Error as error:
        yield Result(
            "wal:archiver", State.UNKNOWN, error.sentence, hint=error.hint, runbook=_RUNBOOK
        )
        return
    if found is None:
        return
    yield _archiver(found, settings.fail_seconds)
    yield Result(
        "wal:size",
        graded(found.size, warn=settings.fail_bytes / 2, fail=settings.fail_bytes),
        f"pg_wal has {output.size(found.size)}",
        found.size,
        "bytes",
        settings.fail_bytes,
        _HINT,
        _RUNBOOK,
    )


def _archiver(found: Standing, limit: float) -> Result:
    if found.defect is not None:
        return Result(
            "wal:archiver",
            State.FAIL,
            f"the server does not archive its write-ahead log: {found.defect}",
            hint="docs/wal.md has the lines for postgresql.conf",
            runbook=_RUNBOOK,
        )
    state = graded(found.oldest, warn=limit / 2, fail=limit)
    detail = f"{found.waiting} segments wait, the oldest for {found.oldest:.0f} s"
    if state is State.OK and not 0 < found.timeout <= _TIMEOUT:
        state = State.WARN
        detail += f"; `archive_timeout` is {found.timeout} s: a quiet hour would not be archived"
    return Result(
        "wal:archiver", state, detail, round(found.oldest, 1), "s", limit, _HINT, _RUNBOOK
    )


def _service(status: Status | None) -> Result:
    if status is None:
        return Result(
            "wal:service",
            State.WARN,
            "it has shipped nothing on this machine",
            hint="systemctl status art32-wal.socket art32-wal.service",
            runbook=_RUNBOOK,
        )
    if status.failure is not None:
        return Result(
            "wal:service",
            State.FAIL,
            f"its last attempt failed, at {status.failed}: {status.failure}; "
            f"before that it shipped `{status.name}` at {status.shipped}"
            if status.shipped
            else f"its last attempt failed, at {status.failed}: {status.failure}",
            hint=_HINT,
            runbook=_RUNBOOK,
        )
    return Result("wal:service", State.OK, f"shipped `{status.name}` at {status.shipped}")
