"""`art32 drill take`: take the records of drills that another machine has made."""

from __future__ import annotations

import sys

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Read from standard input what `art32 drill run --records` has printed elsewhere, and put it
    into this machine's ledger.

    For a restorer that exists for an hour alone: `drill status` and `health` here then know of its
    drills. The backup must be in the store. Whoever brings the lines vouches for them.
    """
    from agent.backup.drill import take

    config = context.load()
    if sys.stdin.isatty():
        output.say("paste what `art32 drill run --records` has printed, then end with Ctrl-D:")
    done = take.take(config, sys.stdin.read(take.MOST))
    lines = [
        f"{one.facts['host']}/{one.facts['source']} {one.facts['id']} of {one.facts['finished']}: "
        + ("was here already" if one.known else f"taken: {one.facts['result']}")
        for one in done
    ]
    data = [{"known": one.known, **one.facts} for one in done]
    context.finish(output.Answer("art32.drill-take/1", data, lines, status=ExitStatus.OK))
