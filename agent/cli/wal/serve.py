"""`art32 wal serve`: the service that PostgreSQL's commands ask."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Answer `wal push` and `wal fetch` until SIGTERM, at the socket of `[wal]` or systemd's.

    On a host it archives: it needs `encryption` and `signing`. On a restorer it brings back: it
    needs the private key. docs/wal.md has the lines for postgresql.conf.
    """
    from agent.backup.wal import serve

    serve.serve(context.load(), output.say)
