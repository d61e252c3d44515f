"""`art32 logs scan`: find attacks in log files, or in standard input."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context


@click.command()
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(("auto", "combined", "json", "syslog", "sshd")),
    default="auto",
    show_default=True,
    help="What the lines look like: an access log, JSON, syslog, or what `sshd -E` writes.",
)
@click.option(
    "--show-addresses",
    is_flag=True,
    help="Name the addresses; otherwise they are `client 1`, `client 2`.",
)
@click.option("--engine", type=click.Choice(("auto", "hyperscan", "re")), help="What searches.")
@click.pass_obj
def command(
    context: Context, files: tuple[Path, ...], form: str, show_addresses: bool, engine: str | None
) -> None:
    """Look for attacks in FILEs, or in standard input; `-` is standard input too.

    Files may be compressed with gzip or zstd. Needs no configuration; where there is one, its
    `[logs.scan]` counts. Exits with 20 when something was found. Keeps nothing: what runs for long
    is `art32 logs watch`.
    """
    from agent.config.logs_scan import Scan
    from agent.logs.scan import open_scanner, report

    config = context.load_if_there()
    settings = config.logs.scan if config else Scan()
    if engine:
        settings = settings.model_copy(update={"engine": engine})
    scanner = open_scanner(settings)
    named = [None if str(path) == "-" else path for path in files] or [None]
    failed = report.scan_files(scanner, named, form)  # type: ignore[arg-type]
    context.finish(report.answer(scanner, failed, settings, show_addresses=show_addresses))
