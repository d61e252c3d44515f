"""`art32 backup list`: the catalog is a listing of the store."""

from __future__ import annotations

import click

from agent.cli import Context
from agent.cli.backup import HOST


@click.command()
@click.argument("source", required=False)
@HOST
@click.option("--all-hosts", is_flag=True, help="The backups of every host in the store.")
@click.pass_obj
def command(context: Context, source: str | None, host: str | None, all_hosts: bool) -> None:
    """List the backups in the store, oldest first."""
    from agent.backup import listing

    config = context.load()
    context.finish(listing.answer(config, host=host, source=source, all_hosts=all_hosts))
