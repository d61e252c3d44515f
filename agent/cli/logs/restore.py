"""`art32 logs restore`: segments of a log, verified, in order."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent import output
from agent.cli import Context
from agent.cli._moment import moment
from agent.errors import Art32Error, Code, ExitStatus


@click.command()
@click.argument("log")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="TARGET",
    help="A new or empty directory, one file for each segment; or `-` for standard output.",
)
@click.option("--id", "ids", multiple=True, metavar="ID", help="This segment; may be repeated.")
@click.option("--since", metavar="TIME", help="Segments cut at or after it: 2026-11-23T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Segments cut at or before it.")
@click.option("--host", metavar="HOST", help="The host whose log is meant; by default this one.")
@click.option(
    "--raw",
    is_flag=True,
    help="Also what was shipped unscrubbed because the scrubber had failed: it holds addresses.",
)
@click.pass_obj
def command(
    context: Context,
    log: str,
    target: str,
    ids: tuple[str, ...],
    since: str | None,
    until: str | None,
    host: str | None,
    raw: bool,
) -> None:
    """Restore the segments of LOG, oldest first.

    Each is verified like a backup before it counts. Segments that a kill had shipped twice come
    back once. Needs a private key.
    """
    from agent.backup import log_restore
    from agent.progress import Progress

    to_output = target == "-"
    if to_output and sys.stdout.isatty():
        raise Art32Error(
            Code.USAGE, "a log does not belong on a terminal", hint="redirect standard output"
        )
    config = context.load()
    chosen = log_restore.choose(
        config,
        log,
        host=host,
        ids=ids,
        since=moment(since, "--since"),
        until=moment(until, "--until"),
        raw=raw,
    )
    with Progress(f"restoring {log}", chosen.stored_bytes) as progress:
        if to_output:
            done = log_restore.to_output(chosen, sys.stdout.buffer, progress=progress.add)
        else:
            path = Path(target).absolute()
            done = log_restore.to_directory(chosen, path, progress=progress.add)
    line = f"{log}: {done.segments} segments, {output.size(done.plain_bytes)}"
    status = ExitStatus.WARNINGS if done.warnings else ExitStatus.OK
    if to_output:
        for text in (line, *(f"warning: {warning}" for warning in done.warnings)):
            output.say(text)
        raise SystemExit(output.exit_code(status, context.form))
    data = {key: value for key, value in vars(done).items() if key != "warnings"}
    context.finish(output.Answer("art32.logs.restore/1", data, [line], done.warnings, status))
