"""`art32 logs digest`: what the security reviewer reads each day."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from agent.cli import Context


@click.command()
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day, as in 2026-11-23; by default yesterday, in UTC.",
)
@click.option(
    "--log-root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path),
    default=(Path("/var/log"),),
    show_default=True,
    help="Where to look for logs that nobody scans; may be given several times.",
)
@click.pass_obj
def command(context: Context, day: datetime | None, roots: tuple[Path, ...]) -> None:
    """Sum up a day: what was found, how often, against the days before, and what it means.

    Samples are scrubbed, addresses are `client 1`, `client 2`. It also says which logs were looked
    at and which were not. Exits with 20 when there is something to review.
    """
    from datetime import UTC, timedelta

    from agent import clock
    from agent.config.logs_scan import Scan, Watch
    from agent.logs.scan.digest import digest

    config = context.load_if_there()
    scan, watch = (config.logs.scan, config.logs.watch) if config else (Scan(), Watch())
    chosen = (day or clock.now() - timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC
    )
    context.finish(digest(scan, watch, chosen.date(), midnight=chosen.timestamp(), log_roots=roots))
