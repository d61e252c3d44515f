"""`art32 snapshot list`: what snapshots there are."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context
from agent.cli.snapshot import PROJECT, STACK


@click.command()
@STACK
@PROJECT
@click.pass_obj
def command(context: Context, name: str, project: Path) -> None:
    """List the snapshots of a stack's databases and data volumes, newest first.

    RDS' own, those made by hand, and AWS Backup's recovery points, of the second region too.
    Status 20 when the database has none from the last 26 hours.
    """
    from agent.snapshots import listing, stack

    context.finish(listing.answer(stack.load(name, project)))
