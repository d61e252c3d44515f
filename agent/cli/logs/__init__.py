"""`art32 logs`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "scan": "find attacks in log files",
    "scrub": "take addresses and other personal data out of log lines",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Find attacks in logs, take personal data out, rotate and ship."""
