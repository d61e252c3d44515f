"""`art32 runbook`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "list": "list all runbooks by symptom",
    "run": "follow a runbook step by step, with a record",
    "show": "print a runbook",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """List, show and follow the runbooks: the same files that on-call people read.

    They need no configuration.
    """
