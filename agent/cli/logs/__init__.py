"""`art32 logs`: one file a verb."""

from __future__ import annotations

import click

from agent.cli import LazyGroup

VERBS = {
    "pipe": "take lines from daemons so that only scrubbed ones reach the disk",
    "scan": "find attacks in log files",
    "digest": "sum up a day for the security reviewer",
    "list": "list the segments of logs in the store",
    "prune": "plan or do the deletion of segments that are old enough",
    "restore": "bring segments of a log back",
    "rotate": "cut logs, scrub them and ship them, without losing a line",
    "watch": "follow log files and find attacks as they come",
    "scrub": "take addresses and other personal data out of log lines",
    "show": "show what one segment is and, with a private key, what was done to it",
}


@click.group(cls=LazyGroup, package=__name__, verbs=VERBS)
def command() -> None:
    """Find attacks in logs, take personal data out, rotate and ship."""
