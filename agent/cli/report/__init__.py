"""`art32 report`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "drain": "send what waits",
    "failure": "report a systemd unit that has failed",
    "test": "send a report that says nothing but that reports arrive",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Tell Rollbar of errors and failing checks, and a watcher of successes; never with personal
    data. What may leave is a list of fields and words (SECURITY.md), and everything else stays."""
