"""`art32 service list`: what should run here, and whether it does."""

from __future__ import annotations

from dataclasses import asdict

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """List the units that the configuration asks for, and how they stand.

    Status 20 when one is not enabled or does not run, or when the configuration demands more often
    what a timer does.
    """
    from agent import service
    from agent.config.service import conflicts

    config = context.load()
    found = service.standing(config)
    rows = [["UNIT", "ENABLED", "STATE"]]
    rows += [[one.unit, "yes" if one.enabled else "NO", one.state] for one in found]
    bad = [one for one in found if not one.good]
    lines = output.table(rows)
    warnings = [f"`{one.unit}` is not as it should be" for one in bad]
    warnings += conflicts(config)
    if bad:
        lines += ["", f"hint: art32 service apply; systemctl status {bad[0].unit}"]
    context.finish(
        output.Answer(
            "art32.service/1",
            [asdict(one) for one in found],
            lines,
            warnings,
            ExitStatus.WARNINGS if warnings else ExitStatus.OK,
        )
    )
