"""`art32 logs show`: one segment and, with a private key, what was done to it."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.argument("segment_id", metavar="ID")
@click.option("--host", metavar="HOST", help="The host whose log it is; by default this one.")
@click.option(
    "--details",
    is_flag=True,
    help="Decrypt its file name, when it was cut and what was scrubbed; needs a private key.",
)
@click.pass_obj
def command(context: Context, segment_id: str, host: str | None, details: bool) -> None:
    """Show one segment."""
    from agent.backup import listing
    from agent.backup.area import LOGS

    config = context.load()
    context.finish(
        listing.show(config, segment_id, host=host or config.host, details=details, area=LOGS)
    )
