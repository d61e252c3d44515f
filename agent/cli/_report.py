"""What the command line reports when it has said everything: errors, failing checks, successes.

Nothing here changes a verb's exit status, and nothing is sent here: reports wait in a queue.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.cli import Context
    from agent.config.model import Configuration
    from agent.health.examine import Examined
    from agent.output import Answer

#: What a status means where the verb does not say which of its errors it was.
_CODES = {
    "backup verify": Code.SUSPECT,
    "drill run": Code.DRILL_FAILED,
    "drill status": Code.DRILL_FAILED,
    "logs rotate": Code.SCRUB_FAILED,
    "doctor": Code.NOT_WRITE_ONLY,
}
#: Their failing checks are reported one by one, or they are the reports themselves.
_THEIR_OWN = ("health", "report")
_GOOD = (ExitStatus.OK, ExitStatus.WARNINGS)


def error(context: Context, verb: str, found: Art32Error, cause: Exception | None) -> None:
    """Report an error with which a verb has ended."""
    if _watched() or verb.startswith("report"):
        return
    from agent import report

    if report.failure(context.loaded, found, verb=verb, cause=cause, invocation=_invocation()):
        send_soon(context)


def answer(context: Context, verb: str, given: Answer) -> None:
    """Report what an answer says has failed, and note what has succeeded."""
    config = context.loaded
    if verb.startswith(_THEIR_OWN) or not _configured(config):
        return
    from agent import report

    waits = False
    if not _watched():
        failed = list(given.errors)
        if not failed and given.status not in _GOOD and verb in _CODES:
            code = _CODES[verb]
            failed = [("", Art32Error(code, code.meaning))]
        for about, one in failed:
            waits |= report.failure(
                config, one, verb=verb, about=about or None, invocation=_invocation()
            )
    duty = verb.replace(" ", "-")
    beats = [f"{verb.split()[0]}:{name}" for name in given.done]
    beats += [duty] if given.status in _GOOD and not given.errors else []
    for beat in beats:
        waits |= report.beat(config, beat)
    if waits:
        send_soon(context)


def checks(context: Context, found: Examined) -> None:
    """Report each check that fails or cannot be made, and that health was looked at."""
    from agent import report

    config = context.loaded
    waits = report.beat(config, "health")
    for one in found.results:
        if one.state.value in ("fail", "unknown") and not _watched():
            waits |= report.check(
                config,
                one.name,
                one.state.value,
                one.detail,
                since=found.since.get(one.name),
                numbers={"value": one.value, "threshold": one.threshold},
                measure=one.unit,
                runbook=one.runbook,
            )
    if waits:
        send_soon(context)


def attacks(
    config: Configuration, verb: str = "logs watch"
) -> Callable[[Mapping[str, int], frozenset[str]], object]:
    """Return what a scan by a verb tells of new attacks."""

    def told(counts: Mapping[str, int], severe: frozenset[str]) -> None:
        if config.report.token_file is not None:
            from agent import report

            report.attacks(config, counts, severe=severe, verb=verb)

    return told


def send_soon(context: Context) -> None:
    """Start a process of its own that sends what waits, where this one could and nobody else will:
    under systemd `art32-report-drain.timer` does, and this unit's children would end with it."""
    from agent import run

    token = context.loaded.report.token_file or context.loaded.report.heartbeats_file
    if _invocation() or token is None or not os.access(token, os.R_OK):
        return
    config = ["--config", str(context.config_path)]
    run.detach([sys.executable, "-m", "agent", *config, "report", "drain"])


def _configured(config: Configuration) -> bool:
    return config.report.token_file is not None or config.report.heartbeats_file is not None


def _invocation() -> str:
    """Return systemd's id of this run of a unit; empty elsewhere."""
    given = os.environ.get("INVOCATION_ID", "")
    return given if given.isalnum() and len(given) == 32 else ""


def _watched() -> bool:
    """Whether a person sits at the terminal and sees for themselves."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
