"""`art32 snapshot restore-plan`: the commands that make a new generation from a snapshot."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context
from agent.cli.snapshot import PROJECT, STACK


@click.command("restore-plan")
@click.argument("snapshot", required=False)
@STACK
@PROJECT
@click.option(
    "--component",
    type=click.Choice(["db", "mail", "web"]),
    default="db",
    show_default=True,
    help="Without SNAPSHOT: the newest usable one of this.",
)
@click.option(
    "--zone",
    metavar="ZONE",
    help="Build it in this zone of the stack, when the usual one is lost.",
)
@click.pass_obj
def command(
    context: Context,
    snapshot: str | None,
    name: str,
    project: Path,
    component: str,
    zone: str | None,
) -> None:
    """Plan the restore of SNAPSHOT, or of the newest: a new generation beside the old one.

    Prints what it costs, what lies between snapshot, newest SQL backup and now, and the commands
    to paste. With a configuration (--config) that may list the store it names that backup.
    """
    from agent.snapshots import planning, stack

    config = context.load() if context.configured else None
    plan = planning.answer(
        stack.load(name, project), config, wanted=snapshot, component=component, zone=zone
    )
    context.finish(plan)
