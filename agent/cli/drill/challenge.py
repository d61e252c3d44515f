"""`art32 drill challenge`: a message that a recovery key's holder must be able to read."""

from __future__ import annotations

from pathlib import Path

import click

from agent import output
from agent.cli import Context


@click.command()
@click.argument("recipient")
@click.option(
    "--to",
    "path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A new file for the message.",
)
@click.pass_obj
def command(context: Context, recipient: str, path: Path) -> None:
    """Encrypt a dated challenge, free of customer data, to RECIPIENT of the configuration.

    Its holder decrypts it with gpg and answers it here with `art32 drill answer`.
    """
    from agent.backup.drill.challenge import make_challenge

    number = make_challenge(context.load(), recipient, path)
    lines = [f"challenge {number} for `{recipient}` is in {path}: bring it to the key's holder"]
    context.finish(output.Answer("art32.challenge/1", {"challenge": number}, lines))
