"""`art32 logs watch`: follow log files and find attacks as they come."""

from __future__ import annotations

import signal
import threading

import click

from agent import output
from agent.cli import Context


@click.command()
@click.option("--once", is_flag=True, help="Read to the present end of every file, then stop.")
@click.pass_obj
def command(context: Context, once: bool) -> None:
    """Follow the files of `[logs.watch]` and look for attacks in what is written to them.

    Runs until SIGTERM. It survives kill -9: the next run goes on where the last checkpoint stands,
    and no line counts twice.
    """
    from agent.cli._report import attacks
    from agent.errors import Art32Error, Code, ExitStatus
    from agent.logs.pipe.scrubbing import DailyScrubber
    from agent.logs.scrub.shared_keys import directories, open_keys
    from agent.logs.watch import run

    config = context.load()
    if not config.logs.watch.files:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "there is nothing to watch: `logs.watch.files` is empty",
            hint="art32 config sample shows how a file is named",
        )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keys = open_keys(config.logs.scrub, backed_up=directories(config))
    scrubber = DailyScrubber(config.logs.scrub, keys, rotated=bool(config.logs.rotate))
    watcher = run(
        config.logs.scan,
        config.logs.watch,
        stop=stop,
        scrub=scrubber.scrub,
        once=once,
        told=attacks(config),
    )
    found = len(watcher.scanner.findings())
    lines = sum(seen.lines for seen in watcher.scanner.seen.values())
    context.finish(
        output.Answer(
            "art32.logs.watch/1",
            {"lines_today": lines, "findings": found},
            [f"{lines} lines today, {found} findings are open: art32 logs digest"],
            status=ExitStatus.WARNINGS if once and found else ExitStatus.OK,
        )
    )
