"""What `art32 drill run` says of its drills: to people, to programs, and to another ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence

from agent import clock, output
from agent.backup.drill.rehearsal import Rehearsal
from agent.errors import Art32Error, Code, ExitStatus

RECORD = "record: "


def answer(results: Sequence[Rehearsal], *, records: bool = False) -> output.Answer:
    """Return what to say of drills; with `records` also the lines that `drill take` reads."""
    lines: list[str] = []
    warnings: list[str] = []
    for done in results:
        lines += _lines(done)
        name = f"{done.source} {done.id}".strip()
        warnings += [f"{name}: {warning}" for warning in done.warnings]
        warnings += [
            f"{name}: {check.name} could not be looked at: {check.detail}"
            for check in done.checks
            if check.good is None
        ]
    failed = [done for done in results if not done.good]
    status = (
        ExitStatus.VERIFICATION if failed else ExitStatus.WARNINGS if warnings else ExitStatus.OK
    )
    if records:
        lines += [RECORD + json.dumps(done.recorded) for done in results]
    if failed:
        lines.append("runbook: drill-failed")
    summary = f"{len(results) - len(failed)} of {len(results)} drills passed"
    lines.append(summary)
    return output.Answer(
        "art32.drill/1",
        [_data(done) for done in results],
        lines,
        warnings,
        status,
        summary,
        errors=[(f"{done.host}/{done.source}", _error(done)) for done in failed],
        done=sorted({one.source for one in results} - {one.source for one in failed}),
    )


def _error(done: Rehearsal) -> Art32Error:
    """Return what is reported of a drill that failed: which checks, and nothing that they saw."""
    if done.error is not None:
        return done.error
    names = ", ".join(f"`{check.name}`" for check in done.checks if check.good is False)
    return Art32Error(Code.DRILL_FAILED, f"the drill of `{done.source}` failed: {names}")


def _lines(done: Rehearsal) -> list[str]:
    word = "passed" if done.good else "FAILED"
    what = f"{done.host}/{done.source}"
    if done.backup is None:
        lines = [f"{what}: {word}"]
    else:
        phases = ", ".join(
            f"{phase} {output.duration(value)}" for phase, value in done.seconds.items()
        )
        if done.member:
            what += f" ({done.member.replace(':', ' ')})"
        of = f"{what} {done.id} of {clock.iso(done.backup.stored_at)}"
        lines = [f"{of}: {word} in {output.duration(done.total)}", f"  {phases}"]
    marks = {True: "ok   ", False: "FAIL ", None: "?    "}
    lines += [f"  {marks[check.good]}{check.name}: {check.detail}" for check in done.checks]
    if done.error is not None:
        lines.append(f"  FAIL {done.error.sentence}")
        if done.error.hint:
            lines.append(f"       hint: {done.error.hint}")
    return lines


def _data(done: Rehearsal) -> dict[str, object]:
    return {
        "host": done.host,
        "source": done.source,
        "id": done.id or None,
        "stored_at": clock.iso(done.backup.stored_at) if done.backup is not None else None,
        "passed": done.good,
        "seconds": {phase: round(value, 2) for phase, value in done.seconds.items()},
        "plain_bytes": done.plain_bytes,
        "loss_seconds": None if done.loss is None else round(done.loss),
        "checks": [vars(check) for check in done.checks],
        "error": done.error.code.label if done.error else None,
        "record": done.recorded,
    }
