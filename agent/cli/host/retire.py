"""`art32 host retire`: a key signs no more."""

from __future__ import annotations

import click

from agent.cli import Context
from agent.cli._moment import moment


@click.command()
@click.argument("wanted", nargs=-1, required=True, metavar="FINGERPRINT|HOST")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="The last sequence number that you trust; by default the last in the store. After a theft "
    "always say it.",
)
@click.option(
    "--wal-until",
    metavar="TIME",
    help="Of its write-ahead log, which has no numbers, trust what was stored by then; with "
    "--after by default nothing.",
)
@click.option(
    "--forget",
    is_flag=True,
    help="Take the key out of the list, once all that it signed has aged out.",
)
@click.pass_obj
def command(
    context: Context,
    wanted: tuple[str, ...],
    after: int | None,
    wal_until: str | None,
    forget: bool,
) -> None:
    """Retire a key: what it signed up to a number still counts, what it signs later is suspect.

    A key that waits is refused for good. Needs the private key of a root.
    """
    from agent.host import change, listing

    chosen = listing.wanted("".join(wanted))
    done = change.retire(
        context.load(),
        chosen.name or chosen.fingerprint,
        after=after,
        wal_until=moment(wal_until, "--wal-until"),
        forget=forget,
    )
    context.finish(
        listing.changed("art32.host.retire/1", "forgotten" if forget else "retired", done)
    )
