"""`art32 drill`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "answer": "take the answer to a recovery key's challenge",
    "challenge": "make a message that a recovery key's holder must be able to read",
    "engine": "start the engines of drills that may not; systemd starts it",
    "run": "restore backups into throw-away engines and look at what came back",
    "status": "show when each source and each recovery key last did well",
    "take": "take the records of drills that another machine has made",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Rehearse restores on the restorer's machine, and show that the recovery keys are there."""
