"""`art32 logs scrub`: a filter, or files in place."""

from __future__ import annotations

from pathlib import Path

import click

from agent import output
from agent.cli import Context


@click.command()
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(("truncate", "pseudonym", "remove")),
    help="What stands in the place of an address.",
)
@click.option(
    "--preset", type=click.Choice(("default", "strict")), help="24 and 48 bits, or 16 and 32."
)
@click.option("--ipv4-prefix", type=click.IntRange(0, 24), metavar="BITS", help="Bits to keep.")
@click.option("--ipv6-prefix", type=click.IntRange(0, 64), metavar="BITS", help="Bits to keep.")
@click.option(
    "--exempt",
    "exempt_networks",
    multiple=True,
    metavar="NETWORK",
    help="A network of your own whose addresses stay; may be given several times.",
)
@click.option("--report", is_flag=True, help="Say on standard error how much of what went.")
@click.pass_obj
def command(context: Context, /, files: tuple[Path, ...], report: bool, **given: object) -> None:
    """Scrub standard input to standard output, or FILEs in place.

    Needs no configuration; where there is one, its `[logs.scrub]` counts, and options win over it.
    """
    from agent.logs.scrub import filter as filters

    settings = filters.settings(context.config_path, given)
    del files
    done = filters.scrub_input(settings)
    if report:
        output.say(done.sentence())
