"""`art32 wal`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "fetch": "bring a file back: for PostgreSQL's restore_command",
    "push": "archive a file: for PostgreSQL's archive_command",
    "serve": "answer both: the service that holds keys and the right to the store",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Archive PostgreSQL's write-ahead log as it is written, and bring it back."""
