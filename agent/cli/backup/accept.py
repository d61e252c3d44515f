"""`art32 backup accept`: a person says that a suspicious backup is right."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context


@click.command()
@click.argument("backup_id", metavar="ID")
@click.pass_obj
def command(context: Context, backup_id: str) -> None:
    """Accept a suspicious backup: from now on it counts, and later ones are compared with it.

    On the host that made it the next manifest tells the keeper; on the keeper it counts at once.
    """
    from agent.backup import acceptance

    accepted = acceptance.accept(context.load(), backup_id)
    context.finish(
        output.Answer(
            "art32.backup.accept/1", {"ids": accepted}, [f"accepted {one}" for one in accepted]
        )
    )
