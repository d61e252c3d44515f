"""`art32 drill answer`: take the answer to a recovery key's challenge."""

from __future__ import annotations

import sys

import click

from agent import output
from agent.cli import Context


@click.command()
@click.argument("challenge")
@click.pass_obj
def command(context: Context, challenge: str) -> None:
    """Read the answer to CHALLENGE from standard input and record whether it is right."""
    from agent.backup import make
    from agent.backup.drill.challenge import take_answer

    config = context.load()
    if sys.stdin.isatty():
        output.say("type the answer that the message holds:")
    answer = sys.stdin.readline(256)
    name = take_answer(make.ledger_of(config), challenge, answer)
    lines = [f"right: the key `{name}` is there and decrypts"]
    context.finish(output.Answer("art32.answer/1", {"recipient": name}, lines))
