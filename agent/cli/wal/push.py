"""`art32 wal push`: documented here, done by `agent.wal.client`, which imports none of this."""

from __future__ import annotations

import click

from agent.wal import client, protocol


@click.command()
@click.option(
    "--socket",
    metavar="PATH",
    help=f"Where the service listens; by default $ART32_WAL_SOCKET, else {protocol.SOCKET}.",
)
@click.argument("path", metavar="%p")
def command(socket: str | None, path: str) -> None:
    """Archive a file; return when it is durable in the store. Runs in the data directory.

    As archive_command: `art32 wal push %p`. Exit status 0, or 1 to 125: PostgreSQL then keeps the
    file and asks again.
    """
    client.main(["push", *(["--socket", socket] if socket else []), "--", path])
