"""`art32 report test`: send a report that says nothing but that reports arrive."""

from __future__ import annotations

import json

import click

from agent import output
from agent.cli import Context


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Send a test report and show all of what was sent."""
    from agent import report
    from agent.cli.report.drain import line
    from agent.errors import Art32Error, Code
    from agent.report.drain import drain

    config = context.load()
    if not report.wanted(config):
        raise Art32Error(
            Code.CONFIG_INVALID,
            "nothing is reported: `report.token_file` is not set",
            hint="art32 config sample shows the section [report]",
            runbook="rollbar-silent",
        )
    queue = report.open_queue(config)
    try:
        sent = report.trial(config)
    except OSError as error:
        raise Art32Error(
            Code.DISK, f"`{queue.directory}` cannot be written: {error.strerror}"
        ) from error
    done = drain(config, queue, report.open_masker(config, queue), force=True)
    if done.left:
        raise Art32Error(
            Code.REPORT_UNSENT,
            f"the test report waits with {done.left - 1} others: {done.why or 'no time'}",
            hint="curl --head the host of `report.endpoint`; then: art32 report drain --now",
        )
    shown = json.dumps(sent, indent=2).splitlines()
    context.finish(
        output.Answer(
            "art32.report.test/1",
            {"sent": sent, "refused": done.discarded},
            [f"to {config.report.endpoint}:", *shown, line(done)],
        )
    )
