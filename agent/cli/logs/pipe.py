"""`art32 logs pipe`: lines come in raw and reach the disk scrubbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus

if TYPE_CHECKING:
    from agent.config.model import Configuration
    from agent.logs.pipe.flow import Flow


@click.command()
@click.argument("pipes", nargs=-1, metavar="[PIPE]...")
@click.option(
    "--to",
    metavar="OUTPUT",
    help="Take standard input instead and write it to this file, to `journald` or to "
    "`journald:NAMESPACE`. Needs no configuration.",
)
@click.option("--fsync", is_flag=True, help="With --to: wait for the disk after every write.")
@click.option(
    "--confirm",
    is_flag=True,
    help="With --to: answer OK on standard output for each line that is written, for "
    "confirmMessages of rsyslog's omprog.",
)
@click.pass_obj
def command(
    context: Context, pipes: tuple[str, ...], to: str | None, fsync: bool, confirm: bool
) -> None:
    """Take log lines and write them without personal data; what is raw is in memory only.

    Serves the named pipes of the configuration, or all, until SIGTERM. SIGHUP reopens the files,
    SIGUSR1 reports. docs/daemons.md has the configuration of each daemon and says which way can
    lose what.
    """
    if to is None:
        if fsync or confirm:
            raise Art32Error(
                Code.USAGE,
                "`--fsync` and `--confirm` go with `--to`",
                hint="a pipe of the configuration has its own key `fsync`",
            )
        flows = _serve(context.load(), pipes)
    elif pipes:
        raise Art32Error(
            Code.USAGE,
            "`--to` takes standard input and no pipe of the configuration",
            hint="art32 logs pipe --to FILE",
        )
    else:
        flows = [_filter(context, to, fsync=fsync, confirm=confirm)]
    _finish(context, flows, quiet=confirm)


def _serve(config: Configuration, names: tuple[str, ...]) -> list[Flow]:
    from agent.cli._report import attacks
    from agent.logs.pipe import start

    return start.serve(config, names, told=attacks(config))


def _filter(context: Context, to: str, *, fsync: bool, confirm: bool) -> Flow:
    from agent.config.logs_pipe import check_output
    from agent.config.logs_scrub import Scrub
    from agent.logs.pipe import start
    from agent.logs.pipe.scrubbing import DailyScrubber

    try:
        check_output(to)
    except ValueError as error:
        raise Art32Error(
            Code.USAGE, f"`--to` {error}", hint="art32 logs pipe --to /var/log/art32/access.log"
        ) from None
    config = context.load() if context.configured else None
    return start.filter_input(
        to,
        DailyScrubber(
            config.logs.scrub if config else Scrub(), rotated=bool(config and config.logs.rotate)
        ),
        fsync=fsync,
        confirm=confirm,
        state=config.state_directory / "pipe" if config else None,
    )


def _finish(context: Context, flows: list[Flow], *, quiet: bool) -> None:
    for flow in flows:
        flow.say(flow.summary())
    failures = [failure for flow in flows if (failure := flow.failure()) is not None]
    if failures:
        raise failures[0]
    worrying = any(flow.counts.worrying() for flow in flows)
    status = ExitStatus.WARNINGS if worrying else ExitStatus.OK
    if quiet or context.form == "human":
        raise SystemExit(int(status))
    context.finish(
        output.Answer(
            "art32.logs.pipe/1",
            [flow.data() for flow in flows],
            [flow.summary() for flow in flows],
            status=status,
        )
    )
