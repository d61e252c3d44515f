"""`art32 wal fetch`: documented here, done by `agent.wal.client`, which imports none of this."""

from __future__ import annotations

import click

from agent.wal import client, protocol


@click.command()
@click.option(
    "--socket",
    metavar="PATH",
    help=f"Where the service listens; by default $ART32_WAL_SOCKET, else {protocol.SOCKET}.",
)
@click.option(
    "--absent",
    metavar="STATUS",
    help="What to exit with, from 1 to 125, when it is proved that there is no such file; "
    "by default 1.",
)
@click.argument("name", metavar="%f")
@click.argument("path", metavar="%p")
def command(socket: str | None, absent: str | None, name: str, path: str) -> None:
    """Bring a file back, whole. Runs in the data directory.

    Exit status 0; 1 when the store, asked, has neither the file nor anything after it; 200
    otherwise. PostgreSQL takes 1 to 125 for the end of the log and begins a life of its own, and an
    interpreter that does not start ends with 1 as well. docs/wal.md has the restore_command that
    tells the two apart.
    """
    options = [("--socket", socket), ("--absent", absent)]
    given = [word for option, value in options if value for word in (option, value)]
    client.main(["fetch", *given, "--", name, path])
