"""`art32 drill status`: when each source and each recovery key last did well."""

from __future__ import annotations

import click

from agent.cli import Context


@click.command()
@click.pass_obj
def command(context: Context) -> None:
    """Show when each source and each recovery key last did well, from this machine's ledger.

    Status 14 when one is overdue or its last drill failed.
    """
    from agent.backup.drill import status

    context.finish(status.answer(context.load()))
