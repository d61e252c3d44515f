"""`art32 logs list`: the segments of logs in the store."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.argument("log", required=False)
@click.option("--host", metavar="HOST", help="The host whose logs are meant; by default this one.")
@click.option("--all-hosts", is_flag=True, help="The logs of every host in the store.")
@click.pass_obj
def command(context: Context, log: str | None, host: str | None, all_hosts: bool) -> None:
    """List the segments of logs in the store, oldest first.

    On a host that may only write, the answer comes from its own ledger and says so.
    """
    from agent.backup import listing
    from agent.backup.area import LOGS

    config = context.load()
    context.finish(listing.answer(config, host=host, source=log, all_hosts=all_hosts, area=LOGS))
