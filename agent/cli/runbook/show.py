"""`art32 runbook show`: print a runbook as it stands."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context


@click.command()
@click.argument("runbook")
@click.pass_obj
def command(context: Context, runbook: str) -> None:
    """Print RUNBOOK."""
    from agent.runbook import library

    found = library.find(runbook)
    data = {"id": found.id, "title": found.title, "text": found.text}
    context.finish(output.Answer("art32.runbook/1", data, found.text.rstrip("\n").split("\n")))
