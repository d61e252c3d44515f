"""`art32 host renew`: the list of pinned hosts, good for longer."""

from __future__ import annotations

import click

from agent import clock, output
from agent.cli import Context
from agent.errors import ExitStatus


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Sign and publish the same hosts anew, so that the list does not end.

    Needs the private key of a root. Look at `art32 host list` first.
    """
    from agent.host import change

    made, notes = change.renew(context.load())
    line = f"list {made.serial} of {len(made.hosts)} keys is good until {clock.iso(made.until)}"
    context.finish(
        output.Answer(
            "art32.host.renew/1",
            {"serial": made.serial, "valid_until": clock.iso(made.until)},
            [line],
            notes,
            ExitStatus.WARNINGS if notes else ExitStatus.OK,
        )
    )
