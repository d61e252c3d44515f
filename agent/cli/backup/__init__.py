"""`art32 backup`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "accept": "say that a suspicious backup is right, so that it counts",
    "ages": "show how old the backups and the drills of all hosts are",
    "delete": "plan or do the deletion of single backups",
    "list": "list the backups in the store",
    "prune": "plan or do the deletion of backups that are old enough",
    "run": "make a backup of each source now",
    "show": "show what one backup is and, with a private key, what is in it",
    "verify": "check that backups in the store are whole and really this host's",
}

HOST = click.option(
    "--host", metavar="HOST", help="The host whose backups are meant; by default this one."
)


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Make, list, verify, prune and delete backups."""
