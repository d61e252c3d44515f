"""`art32 runbook list`: what you see, and the page that helps."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """List all runbooks, the most severe first."""
    from agent.runbook import library

    found = library.everything()
    rows = [["RUNBOOK", "SEVERITY", "MINUTES", "WHAT YOU SEE"]]
    rows += [[one.id, one.severity, str(one.minutes), one.symptom] for one in found]
    data = [
        {
            "id": one.id,
            "title": one.title,
            "symptom": one.symptom,
            "severity": one.severity,
            "minutes": one.minutes,
            "alerts": one.alerts,
            "errors": one.errors,
            "steps": len(one.blocks),
            "manual_steps": sum(block.manual for block in one.blocks),
        }
        for one in found
    ]
    lines = [*output.table(rows), "", "art32 runbook show RUNBOOK prints one"]
    context.finish(output.Answer("art32.runbooks/1", data, lines))
