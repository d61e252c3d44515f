"""`art32 report drain`: send what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus

if TYPE_CHECKING:
    from agent.report.drain import Drained


@click.command()
@click.option("--now", is_flag=True, help="Do not keep the pause after a failure.")
@click.pass_obj
def command(context: Context, now: bool) -> None:
    """Send the reports that wait, oldest first, and call the heartbeats of what has succeeded.

    What Rollbar does not take now waits for the next run: status 75. Pauses grow up to an hour and
    are never shorter than Rollbar has asked for.
    """
    from agent import report
    from agent.report.drain import drain

    config = context.load()
    queue = report.open_queue(config)
    done = drain(config, queue, report.open_masker(config, queue), force=now)
    status = ExitStatus.TRY_AGAIN if done.left or done.uncalled else ExitStatus.OK
    if done.discarded and status is ExitStatus.OK:
        status = ExitStatus.WARNINGS
    context.finish(output.Answer("art32.report.drain/1", vars(done), [line(done)], status=status))


def line(done: Drained) -> str:
    """Return what a run did, in words."""
    parts = [f"{done.sent} sent", f"{done.left} wait"]
    parts += [f"{done.discarded} refused for good"] if done.discarded else []
    parts += [f"{done.called} heartbeats"] if done.called else []
    parts += [f"{done.uncalled} heartbeats failed"] if done.uncalled else []
    return ", ".join(parts) + (f": {done.why}" if done.why else "")
