"""`art32 snapshot`: one file a verb."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import LazyGroup

VERBS = {
    "list": "list the snapshots of a stack's databases and volumes at AWS",
    "restore-plan": "print the commands that make a new generation from a snapshot",
}

STACK = click.option(
    "--stack", "name", required=True, metavar="NAME", help="The stack, as `pulumi stack ls` has it."
)
PROJECT = click.option(
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIRECTORY",
    help="Where Pulumi.yaml and the stack's file are; by default here.",
)


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Look at a stack's snapshots at AWS, and plan a restore. Changes nothing.

    Needs the extra `aws`, the stack's Pulumi.NAME.yaml and a session that may read the account.
    """
