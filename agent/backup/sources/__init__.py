"""Kinds of sources: one file each, found by its name, all put through one conformance suite.

To add a kind: its section in `agent/config/sources.py`, a file here with the functions of
`Plugin`, and one entry in `tests/conformance/test_sources.py`.
"""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast, runtime_checkable

from agent.errors import Art32Error, Code
from agent.store import Bytes

CHUNK = 1 << 20


@dataclass(frozen=True)
class DumpReport:
    """What a finished dump says of itself; goes into the encrypted details.

    `rows` maps a table's qualified name to its number of rows in the dump's own snapshot, None
    when they were not counted. `warnings` are (code, number) pairs free of names, as in
    `("changed-while-read", 3)`; the names stand in `facts`. `wal` are the fields of the manifest's
    `WalEntry`, for base backups alone.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] | None = None
    warnings: tuple[tuple[str, int], ...] = ()
    wal: dict[str, Any] | None = None


class Dump(Protocol):
    """A dump in progress."""

    def read(self) -> bytes:
        """Return the next bytes, at most CHUNK; empty at the end."""

    def finish(self) -> DumpReport:
        """After the end: raise SOURCE_FAILED or SOURCE_INCOMPLETE unless every stage succeeded."""


@dataclass(frozen=True)
class Reached:
    """How far a recovery came, in the words of the server that did it: `last` is the time of the
    last transaction, in UTC, None where the log held none."""

    how: str
    last: str | None
    position: str
    timeline: int


@dataclass(frozen=True)
class Recovery:
    """What takes a base backup on to a later point: the write-ahead log of its server.

    `fetch` is given the name of a file and returns its bytes, or None when the archive, asked, has
    none of it; it raises when it cannot tell, and when what is there is not to be trusted. `at` is
    the moment to stop at, None for the end of the log. The result belongs to `owner`, None leaves
    it to the engine's user; `reached` is told how far the log was followed.
    """

    fetch: Callable[[str], Bytes | None]
    at: datetime | None = None
    owner: str | None = None
    reached: Callable[[Reached], object] = lambda _: None


@dataclass(frozen=True)
class RestoreRequest:
    """Where a stream is to go, and what of it.

    `target` is what the user typed after `--to`; `only` one table or one path; `facts` come from
    the backup's encrypted details. `token` is in the name of whatever is not finished, so that it
    can be found after a kill. What is `thrown_away` goes with the engine that it is in. `warn`
    takes a sentence for what a restore that is done could not bring back.
    """

    target: str
    facts: dict[str, Any]
    only: str | None = None
    overwrite: bool = False
    owners: bool = False
    allow_superuser: bool = False
    engine_user: str = "nobody"
    recovery: Recovery | None = None
    thrown_away: bool = False
    warn: Callable[[str], object] = lambda _: None
    token: str = field(default_factory=lambda: secrets.token_hex(8))


class Dumper(Protocol):
    """What a backup needs of a plug-in once its source is known to be there."""

    def dump(self, config: Any, member: str) -> AbstractContextManager[Dump]:
        """Begin a dump; leaving the block ends every process and removes every file of it."""


class Plugin(Dumper, Protocol):
    """What a file in this folder has to offer."""

    def probe(self, config: Any) -> None:
        """Raise SOURCE_MISSING or another error when a backup could not begin."""

    def members(self, config: Any) -> tuple[str, ...]:
        """Return what a run is made of: `("",)`, or a name for each part of a set."""

    def check_target(self, request: RestoreRequest) -> None:
        """Raise TARGET_EXISTS, TARGET_UNSAFE or TARGET_FAILED before any data is fetched."""

    def restore(self, stream: Iterator[bytes], request: RestoreRequest) -> str:
        """Feed the stream to the target and return one sentence about what is there now.

        The stream yields verified plaintext and raises when a later part fails to verify. Only
        after its end is the result given its final name; on any exception nothing is left.
        """

    def left(self, request: RestoreRequest) -> str | None:
        """Return how to name what a killed restore of this very request left, None for nothing.

        Raise when that cannot be found out.
        """

    def discard(self, request: RestoreRequest) -> None:
        """Remove what a killed restore of this very request left, and nothing else; raise when
        that cannot be done."""


@runtime_checkable
class Pourable(Protocol):
    """A stream that can do better than to be copied piece by piece."""

    def pour(self, descriptor: int) -> None:
        """Do what `pour` promises."""


def pour(stream: Iterator[bytes], descriptor: int) -> None:
    """Write the rest of a stream to a descriptor, all of it.

    Raise what the stream raises, and OSError when the descriptor takes no more.
    """
    if isinstance(stream, Pourable):
        stream.pour(descriptor)
        return
    for chunk in stream:
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]


def plugin(kind: str) -> Plugin:
    """Return the plug-in for a kind; raise NO_BACKUP for a kind that this version does not know."""
    if not kind.isidentifier() or "_" in kind:
        raise Art32Error(Code.SUSPECT, "the backup names a source of an impossible kind")
    name = f"agent.backup.sources.{kind}"
    try:
        return cast(Plugin, importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise Art32Error(
            Code.NO_BACKUP,
            f"a source of kind `{kind}` is unknown to this version",
            hint="restore to standard output with `--to -`, or use a newer art32",
        ) from error
