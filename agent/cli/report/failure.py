"""`art32 report failure`: report a systemd unit that has failed, for `OnFailure=`."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context


@click.command()
@click.option("--unit", required=True, metavar="NAME", help="The unit, with its suffix.")
@click.pass_obj
def command(context: Context, unit: str) -> None:
    """Report a unit's result and exit status, as systemd has them, and send what waits.

    Not a line of its journal is read. A run that has reported its own error is not reported twice.
    """
    from agent import report
    from agent.cli.report.drain import line
    from agent.errors import ExitStatus
    from agent.report.drain import drain
    from agent.report.unit import ask

    config = context.load()
    failed = ask(unit)
    queued = report.failed_unit(config, failed)
    queue = report.open_queue(config)
    done = drain(config, queue, report.open_masker(config, queue))
    context.finish(
        output.Answer(
            "art32.report.failure/1",
            {"unit": unit, "result": failed.result, "queued": queued, **vars(done)},
            [f"{unit}: {failed.result}; {line(done)}"],
            status=ExitStatus.WARNINGS if done.left else ExitStatus.OK,
        )
    )
