"""`art32 host enrol`: what a host does at its first boot, and may do at each."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.errors import ExitStatus


@click.command()
@click.option(
    "--expires",
    default="3y",
    show_default=True,
    metavar="WHEN",
    help="When a key that is made now ends, as gpg takes it: 3y, 18m, 2028-12-31, never.",
)
@click.pass_obj
def command(context: Context, expires: str) -> None:
    """Make this host's signing key, unless it is there, and publish its public half.

    Prints the fingerprint: compare it with that of `art32 host list` on the keeper, then accept it
    there. Until then the backups are pending: kept, and not restored.
    """
    from agent.host.enrol import enrol
    from agent.host.listing import grouped

    done = enrol(context.load(), expires=expires)
    lines = [
        f"signing key: {'made' if done.made else 'there already'}",
        f"fingerprint: {grouped(done.fingerprint)}",
        f"enrolment:   {'published' if done.published else 'there already'}, {done.name}",
    ]
    warnings = []
    if done.replaced is not None:
        warnings.append(
            f"this machine is a copy of another one: its key `{done.replaced}` was replaced"
        )
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    context.finish(output.Answer("art32.host.enrol/1", vars(done), lines, warnings, status))
