"""`art32 logs prune`: retention of logs in the store, planned first."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus


@click.command()
@click.option("--apply", "apply_", is_flag=True, help="Delete; without it only the plan is shown.")
@click.option("--host", metavar="HOST", help="Only this host; by default all in the store.")
@click.pass_obj
def command(context: Context, apply_: bool, host: str | None) -> None:
    """Show which segments are to go by [logs.retention]; delete them with --apply.

    By days, and by size for each log of each host, oldest first. Suspect segments stay. Deletes
    nothing while this clock and the store's differ.
    """
    from agent.backup import log_prune
    from agent.cli.backup import _deleted

    plan = log_prune.plan(context.load(), host=host)
    lines = [
        f"{'delete' if one.delete else 'keep':6}  {one.name}  {one.segment.id}  {one.reason}"
        for one in plan.decisions
    ]
    data = [
        {
            "id": one.segment.id,
            "log": one.name,
            "action": "delete" if one.delete else "keep",
            "reason": one.reason,
        }
        for one in plan.decisions
    ]
    done = log_prune.carry_out(plan) if apply_ else []
    lines += _deleted.lines(done)
    if not apply_ and plan.deletions:
        lines.append("nothing was deleted: pass --apply to do it")
    warnings = [f"nothing is deleted: {plan.refused}"] if plan.refused else []
    context.finish(
        output.Answer(
            "art32.logs.prune/1",
            {"plan": data, "applied": apply_, "deleted": [_deleted.entry(one) for one in done]},
            lines or ["there are no segments of logs"],
            warnings,
            ExitStatus.TRY_AGAIN if plan.refused else ExitStatus.OK,
        )
    )
