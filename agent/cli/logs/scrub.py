"""`art32 logs scrub`: a filter, or files in place."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context


@click.command()
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--mode",
    type=click.Choice(("truncate", "pseudonym", "remove")),
    help="What stands in the place of an address.",
)
@click.option(
    "--preset",
    type=click.Choice(("default", "strict")),
    help="Keep 24 bits of IPv4 and 48 of IPv6, or 16 and 32.",
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
@click.option("--dry-run", is_flag=True, help="Only list what would go, without showing it.")
@click.option("--quiet", is_flag=True, help="Do not say how much of what has gone.")
@click.pass_obj
def command(
    context: Context, /, files: tuple[Path, ...], dry_run: bool, quiet: bool, **given: object
) -> None:
    """Scrub standard input to standard output, or FILEs in place.

    Needs no configuration; where there is one, its `[logs.scrub]` counts, and options win over it.
    How much of what has gone is said on standard error, under `--output json` as JSON. What is
    found and what stays: docs/scrubbing.md.
    """
    from agent.logs.scrub import filter as filters

    settings = filters.settings(context.config_path, given)
    if dry_run:
        context.finish(filters.dry_run(files, settings))
    if not files:
        done = filters.scrub_input(settings)
        if not quiet:
            filters.say(done, context.form)
        return
    context.finish(filters.scrub_files(files, settings))
