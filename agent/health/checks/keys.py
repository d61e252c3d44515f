"""Keys that will expire: of recipients, and this host's own."""

from __future__ import annotations

from collections.abc import Iterator

from agent.backup import identity
from agent.errors import Art32Error
from agent.health.checks import Situation
from agent.health.result import Result, State

_RUNBOOK = "key-rotate"


def look(situation: Situation) -> Iterator[Result]:
    config = situation.config
    if config.encryption is None or config.signing is None:
        return
    try:
        with identity.writer(config) as writer:
            warnings = writer.warnings()
            count = len(writer.recipients) + 1
    except Art32Error as error:
        yield Result("keys", State.FAIL, error.sentence, hint=error.hint, runbook=_RUNBOOK)
        return
    if warnings:
        soon = any("within 7 days" in one for one in warnings)
        yield Result(
            "keys", State.FAIL if soon else State.WARN, "; ".join(warnings), runbook=_RUNBOOK
        )
    else:
        yield Result("keys", State.OK, f"{count} keys are good for 90 days and more")
