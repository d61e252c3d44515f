"""`art32 host list`: who signs, who waits."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command("list")
@click.pass_obj
def command(context: Context) -> None:
    """List every key: pending, accepted, retired, refused; the backups that wait for each."""
    from agent.host import listing

    context.finish(listing.answer(context.load()))
