"""`art32 drill engine`: the unit beside a drill's that makes its rooms."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Start the throw-away engines of drills that may not; systemd starts it.

    It listens on the socket that systemd passes, runs confined programs alone, as
    `restore.engine_user` and in `drill.directory`, and ends when nothing has run for a minute.
    What it has are the rights to make namespaces; what it has not are keys and a network.
    """
    from agent.backup.drill import engine_service

    engine_service.serve(context.load())
