"""`art32 backup`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "accept": "accept a suspicious backup, so that it counts",
    "delete": "delete single backups",
    "list": "list the backups in the store",
    "prune": "delete backups by age",
    "run": "back up",
    "show": "show one backup",
    "verify": "verify backups in the store",
}

HOST = click.option("--host", metavar="HOST", help="Another host than this configuration's.")


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Make, list, verify, prune and delete backups."""
