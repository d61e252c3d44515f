"""`art32 drill run`: restore backups into throw-away engines and look at what came back."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--host", metavar="HOST", help="The host whose backups are meant; by default this one."
)
@click.option(
    "--pick",
    type=click.Choice(["newest", "rotating"]),
    default="newest",
    show_default=True,
    help="The newest good backup, or the one that was drilled longest ago.",
)
@click.option("--id", "wanted", metavar="ID", help="This backup, with all parts of its set.")
@click.option(
    "--records",
    is_flag=True,
    help="Also print a line for each drill that `art32 drill take` reads on another machine.",
)
@click.pass_obj
def command(
    context: Context,
    sources: tuple[str, ...],
    host: str | None,
    pick: str,
    wanted: str | None,
    records: bool,
) -> None:
    """Drill the named sources, or all of a host that have not ended (`retention.retired`).

    Signature, hashes and decryption are checked; an engine of its own, confined and without a
    network, takes the backup; counts, integrity and the configured assertions are looked at; time
    and loss are measured and recorded. Then everything is removed.
    """
    from agent.backup.drill import campaign, noted, told
    from agent.errors import Art32Error, Code

    if wanted is not None and len(sources) != 1:
        raise Art32Error(Code.USAGE, "`--id` needs the one source that it is of")
    config = context.load()
    done = campaign.run(config, sources, host=host or config.host, pick=pick, wanted=wanted)
    answer = told.answer(done, records=records)
    context.finish(noted.note(config, answer) if config.drill.note else answer)
