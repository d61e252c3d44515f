"""`art32 backup show`: one backup and, with a private key, what is in it."""

from __future__ import annotations

import click

from agent.cli import Context
from agent.cli.backup import HOST


@click.command()
@click.argument("backup_id", metavar="ID")
@HOST
@click.option("--details", is_flag=True, help="Decrypt what is in it; needs a private key.")
@click.pass_obj
def command(context: Context, backup_id: str, host: str | None, details: bool) -> None:
    """Show one backup."""
    from agent.backup import listing

    config = context.load()
    context.finish(listing.show(config, backup_id, host=host or config.host, details=details))
