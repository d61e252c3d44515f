"""Every byte of the write-ahead log that base backups need: decrypted, its signature judged, each
page of it looked at. What names alone tell is in `wal_chain`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agent import parallel
from agent.backup import identity, restore, wal_chain
from agent.backup.catalog import Backup
from agent.backup.wal import listing, place, timelines
from agent.backup.wal.listing import Entry
from agent.backup.wal.names import Kind
from agent.backup.wal.opening import Opener
from agent.backup.wal.place import Place
from agent.backup.wal_chain import Base
from agent.config.model import Configuration
from agent.errors import Art32Error, Code

_READERS = 3
_ABOUT_ONE = (Code.SUSPECT, Code.PENDING, Code.CORRUPT, Code.SPLIT_BRAIN, Code.OBJECT_MISSING)


@dataclass(frozen=True)
class Log:
    """What of the log of one cluster of one host base backups need: files, and bytes as stored."""

    host: str
    system_id: int
    files: tuple[Place, ...]
    size: int


@dataclass
class Opened:
    """How many files opened, and what is wrong with the others."""

    log: Log
    good: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def logs(config: Configuration, backups: Iterable[Backup]) -> list[Log]:
    """Return what the base backups among these need, from the first of each cluster on."""
    groups: dict[tuple[str, int], list[Base]] = {}
    for base in wal_chain.bases(backups):
        groups.setdefault(base.cluster, []).append(base)
    if not groups:
        return []
    archive = place.open_archive(config.store)
    found = []
    for (host, system_id), bases in sorted(groups.items(), key=lambda one: one[0]):
        entries = listing.entries(archive, host=host, system_id=system_id)
        needed = [one for one in entries if _is_needed(one, bases)]
        files = tuple(dict.fromkeys(one.place for one in needed))
        found.append(Log(host, system_id, files, sum(one.size for one in needed)))
    return found


def _is_needed(entry: Entry, bases: Sequence[Base]) -> bool:
    name = entry.place.name
    return name.kind is Kind.HISTORY or any(
        name.kind is Kind.SEGMENT
        and name.timeline >= base.timeline
        and name.number(base.segment_bytes) >= base.first
        for base in bases
    )


def read(
    config: Configuration,
    wanted: Sequence[Log],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Opened]:
    """Open every file of these logs; what is wrong with one alone is in the result.

    Raise when the store does not answer, or when no private key is there or opens anything.
    """
    if not wanted:
        return []
    archive = place.open_archive(config.store)
    with identity.reader(config) as reader:
        opener = Opener(
            archive,
            reader,
            prefix=config.store.prefix,
            private_home=restore.private_home(config),
        )
        return [_one(opener, log, progress) for log in wanted]


def _one(opener: Opener, log: Log, progress: Callable[[int], None]) -> Opened:
    result = Opened(log)
    share = log.size // max(1, len(log.files))

    def look(file: Place) -> tuple[str | None, tuple[str, ...]]:
        try:
            found = opener.find((file.host,), file.system_id, file.name)
            if found is not None and file.name.kind is Kind.HISTORY:
                timelines.parse(bytes(found.content.view), file.name.timeline)
        except Art32Error as error:
            if error.code not in _ABOUT_ONE:
                raise
            return error.sentence, ()
        if found is None:
            return f"`{file.name.text}` has gone from the store meanwhile", ()
        return None, found.warnings

    with contextlib.closing(parallel.ordered(look, log.files, workers=_READERS)) as looked:
        for problem, warnings in looked:
            progress(share)
            result.warnings += warnings
            if problem is None:
                result.good += 1
            else:
                result.problems.append(problem)
    return result
