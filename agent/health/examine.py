"""All checks, each by itself: one that breaks is `unknown` and stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent import clock, output
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus, from_defect
from agent.health import memory
from agent.health.checks import Situation, checks
from agent.health.result import Result, State

_ORDER = (State.FAIL, State.UNKNOWN, State.WARN, State.OK)


@dataclass(frozen=True)
class Examined:
    """What was found at a moment; `since` maps each result's name to when its state began."""

    results: tuple[Result, ...]
    since: dict[str, str]
    at: datetime
    warnings: tuple[str, ...] = ()


def examine(config: Configuration, only: Sequence[str] = ()) -> Examined:
    """Make all checks, or the named ones (files of `agent/health/checks`), worst results first.

    Raise USAGE for a check that does not exist.
    """
    known = checks()
    if strangers := sorted(set(only) - set(known)):
        raise Art32Error(
            Code.USAGE, f"there is no check `{strangers[0]}`", hint=f"there are: {', '.join(known)}"
        )
    now = clock.now()
    remembered = memory.load(config.state_directory)
    situation = Situation(config, remembered, now)
    results: list[Result] = []
    for name, look in known.items():
        if only and name not in only:
            continue
        try:
            results += look(situation)
        except Art32Error as error:
            results.append(Result(name, State.UNKNOWN, error.sentence, hint=error.hint))
        except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
            results.append(Result(name, State.UNKNOWN, from_defect(error).sentence))
    results.sort(key=lambda one: (_ORDER.index(one.state), one.name))
    since = remembered.moments(results, now) if not only else {}
    warnings = []
    if not only:
        try:
            memory.save(config.state_directory, remembered)
        except OSError as error:
            warnings.append(f"what was found cannot be remembered: {error.strerror}")
    return Examined(tuple(results), since, now, tuple(warnings))


def answer(found: Examined) -> output.Answer:
    """Return what to say: status 14 when a check fails, 20 when one warns or is unknown."""
    counts = {state: sum(one.state is state for one in found.results) for state in _ORDER}
    rows = [["STATE", "CHECK", "SINCE", "WHAT"]]
    rows += [
        [one.state.value.upper(), one.name, found.since.get(one.name, "-"), one.detail]
        for one in found.results
    ]
    lines = output.table(rows)
    for one in found.results:
        if one.state is State.OK or not (one.hint or one.runbook):
            continue
        lines += ["", f"{one.name}:"]
        lines += [f"  hint: {one.hint}"] if one.hint else []
        lines += [f"  runbook: {one.runbook}"] if one.runbook else []
    worst = [one for one in found.results if one.state is not State.OK]
    summary = ", ".join(f"{one.name} {one.detail}" for one in worst[:3]) or "all in order"
    summary += (
        f" ({', '.join(f'{count} {state.value}' for state, count in counts.items() if count)})"
    )
    status = ExitStatus.OK
    if counts[State.WARN] or counts[State.UNKNOWN] or found.warnings:
        status = ExitStatus.WARNINGS
    if counts[State.FAIL]:
        status = ExitStatus.VERIFICATION
    data = [
        {**vars(one), "state": one.state.value, "since": found.since.get(one.name)}
        for one in found.results
    ]
    return output.Answer("art32.health/1", data, lines, found.warnings, status, summary)
