"""`art32 service`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "apply": "have systemd run what the configuration asks for, and nothing else of Art32",
    "list": "list the units that the configuration asks for, and how they stand",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Enable and list the systemd units of this machine.

    Which they are follows from the configuration: a timer for each source, and so on.
    """
