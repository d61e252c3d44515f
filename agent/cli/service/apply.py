"""`art32 service apply`: systemd runs what the configuration asks for."""

from __future__ import annotations

from dataclasses import asdict

import click

from agent import output
from agent.cli import Context


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.pass_obj
def command(context: Context, dry_run: bool) -> None:
    """Enable and start the units that the configuration asks for, disable those of Art32 that it
    does not, let each write where the configuration has it write, and start the resident ones
    again.

    Run it as root after each change of the configuration. Doing it twice changes nothing.
    """
    from agent import service
    from agent.config.service import conflicts

    config = context.load()
    change = service.plan(config) if dry_run else service.apply(config)
    lines = change.lines() or ["nothing to change"]
    context.finish(output.Answer("art32.service.apply/1", asdict(change), lines, conflicts(config)))
