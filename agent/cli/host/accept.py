"""`art32 host accept`: a person says that a key is a host's."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.argument("fingerprint", nargs=-1, required=True, metavar="FINGERPRINT|HOST")
@click.option("--replaces", is_flag=True, help="The host's older key is closed at its last backup.")
@click.option("--beside", is_flag=True, help="The host's older key goes on signing.")
@click.option("--despite-doubts", is_flag=True, help="Accept although something speaks against it.")
@click.pass_obj
def command(
    context: Context,
    fingerprint: tuple[str, ...],
    replaces: bool,
    beside: bool,
    despite_doubts: bool,
) -> None:
    """Accept the key of that FINGERPRINT, which you have compared with what the host itself shows.

    Spaces in it do no harm. With the name of a HOST it only shows which key would be accepted.
    Needs the private key of a root; publishes a new list of pinned hosts.
    """
    from agent.errors import Art32Error, Code
    from agent.host import change, listing

    if replaces and beside:
        raise Art32Error(Code.USAGE, "`--replaces` and `--beside` exclude each other")
    config = context.load()
    wanted = listing.wanted("".join(fingerprint))
    if wanted.name is not None:
        context.finish(listing.offer(config, wanted.name))
    done = change.accept(
        config,
        wanted.fingerprint,
        replaces=replaces,
        beside=beside,
        despite_doubts=despite_doubts,
    )
    context.finish(listing.changed("art32.host.accept/1", "accepted", done))
