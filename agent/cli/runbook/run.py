"""`art32 runbook run`: follow a runbook step by step, with a record."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli import Context


@click.command()
@click.argument("runbook")
@click.option(
    "--purpose",
    type=click.Choice(["mend", "verify", "undo"]),
    default="mend",
    show_default=True,
    help="All steps up to the last verification; the verification alone; or taking it back.",
)
@click.option("--step", "first", type=int, default=1, metavar="N", help="Begin at step N.")
@click.option("--dry-run", is_flag=True, help="Show the steps and what they need; run nothing.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="Fill in a variable. Other users see arguments: nothing secret or personal here.",
)
@click.option(
    "--variables",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Lines NAME=VALUE, for what must not stand in an argument.",
)
@click.option("--yes", is_flag=True, help="Do not ask before each step.")
@click.option("--danger", is_flag=True, help="With --yes: also run what destroys something.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append a transcript, masked, with times. The ledger gets steps and results in any case.",
)
@click.pass_obj
def command(
    context: Context,
    runbook: str,
    purpose: str,
    first: int,
    dry_run: bool,
    given: tuple[str, ...],
    variables: Path | None,
    yes: bool,
    danger: bool,
    record: Path | None,
) -> None:
    """Follow RUNBOOK: show each step, ask, run it, compare what it prints, record the result.

    One bash runs all steps; the first command that fails stops it. Without a terminal it needs
    --yes.
    """
    from agent.runbook import follow, library

    context.finish(
        follow.follow(
            library.find(runbook),
            follow.Wish(purpose, first, dry_run, yes, danger, given, variables, record),
            config_path=context.config_path,
        )
    )
