"""`art32 host`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "accept": "say that an enrolled key is a host's, so that its backups count",
    "enrol": "on a host: make its signing key and publish the public half",
    "list": "list the hosts that wait, are accepted, are retired",
    "renew": "publish the list of pinned hosts anew, before it ends",
    "retire": "say from which number on a key's backups do not count",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Enrol hosts and keep the list of their keys, which a root key signs."""
