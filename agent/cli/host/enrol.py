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
    """Make this host's signing key, and that of `wal.signing`, unless they are there, and publish
    the public halves.

    Prints the fingerprints: compare them with those of `art32 host list` on the keeper, then accept
    them there. Until then the backups are pending: kept, and not restored.
    """
    from agent.host.enrol import enrol, enrol_wal
    from agent.host.listing import grouped

    config = context.load()
    own = enrol(config, expires=expires)
    wal = enrol_wal(config, expires=expires)
    lines, warnings = [], []
    for what, done in (("signing key", own), ("write-ahead log's key", wal)):
        if done is None:
            continue
        lines += [
            f"{what}: {'made' if done.made else 'there already'}",
            f"  fingerprint: {grouped(done.fingerprint)}",
            f"  enrolment:   {'published' if done.published else 'there already'}, {done.name}",
        ]
        if done.replaced is not None:
            warnings.append(
                f"this machine is a copy of another one: its key `{done.replaced}` was replaced"
            )
    data = {**vars(own), "wal": None if wal is None else vars(wal)}
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    context.finish(output.Answer("art32.host.enrol/1", data, lines, warnings, status))
