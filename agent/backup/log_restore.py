"""Segments of a log come back: each verified like a backup, in the order in which they were cut.

A segment that a kill had shipped twice comes back once: the tag of its identity is in the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from agent import clock
from agent.backup import catalog, fetch, identity, make, restore
from agent.backup.area import LOGS, within
from agent.backup.catalog import Backup, State
from agent.backup.manifest import Details
from agent.backup.sources import RestoreRequest
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Store, open_store

UNSCRUBBED = "unscrubbed"
# a run that was killed is finished by one of the next ones
_AGAIN = timedelta(days=3)
_FILE = re.compile(r"[A-Za-z0-9_@%+,=-][A-Za-z0-9_.@%+,=-]{0,150}")
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")
_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Chosen:
    """The segments to restore, oldest first, and what a person should know who reads them."""

    config: Configuration
    store: Store
    segments: tuple[Backup, ...]
    warnings: tuple[str, ...] = ()

    @property
    def stored_bytes(self) -> int:
        return sum(segment.stored_bytes for segment in self.segments)


@dataclass
class Restored:
    """What came back: bytes of plaintext, and the files that were written."""

    segments: int = 0
    plain_bytes: int = 0
    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose(
    config: Configuration,
    log: str,
    *,
    host: str | None = None,
    ids: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    raw: bool = False,
) -> Chosen:
    """Return the complete segments of a log, by ids or by when they were cut.

    What was shipped unscrubbed is left out unless `raw` asks for it. Raise NO_BACKUP when there is
    none, SUSPECT or PENDING when an id is of such a one.
    """
    inner = within(config, LOGS)
    store = open_store(inner.store)
    with identity.reader(inner) as reader:
        found = catalog.read(
            store, reader, inner.store.prefix, host=host or config.host, source=log
        )
    if ids:
        picked = [catalog.find(found, one) for one in ids]
        for one in picked:
            catalog.require_complete(one)
    else:
        picked = [one for one in found if _within(one, since, until)]
    warnings = [
        f"`{one.id}` is {one.state.value} and left out: {one.reason}"
        for one in picked
        if one.state in catalog.DOUBTFUL
    ]
    whole, doubled, late = distinct(one for one in picked if one.state is State.COMPLETE)
    kept = [one for one in whole if raw or not _is_raw(one)]
    if len(kept) < len(whole):
        warnings.append(
            f"{len(whole) - len(kept)} segments were shipped unscrubbed and are left out: --raw"
        )
    if doubled:
        warnings.append(f"{doubled} segments were shipped twice and come back once")
    warnings += [
        f"`{one.id}`, stored {clock.iso(one.stored_at)}, would replace a segment that was stored "
        f"more than {_AGAIN.days} days before it, and is left out: a host that was stolen could "
        f"have made it; --id {one.id} restores it alone"
        for one in late
    ]
    if not kept:
        raise Art32Error(
            Code.NO_BACKUP,
            f"no complete segment of the log `{log}` fits the request",
            hint="; ".join(warnings) or "art32 logs list --all-hosts",
        )
    return Chosen(inner, store, tuple(kept), tuple(warnings))


def distinct(segments: Iterable[Backup]) -> tuple[list[Backup], int, list[Backup]]:
    """Return segments in the order in which they were cut, each identity once; how many more there
    were; and those that came too late to be the same segment once more.

    Of several with one identity the last that was signed has all of its lines. What the store got
    long after the first of them replaces nothing: a host that has fallen since knows every identity
    it has ever used.
    """
    groups: dict[str, list[Backup]] = {}
    for one in segments:
        assert one.manifest is not None
        groups.setdefault(one.manifest.member or one.id, []).append(one)
    chosen, doubled, late = [], 0, []
    for group in groups.values():
        limit = min(one.stored_at for one in group) + _AGAIN
        timely = [one for one in group if one.stored_at <= limit]
        late += [one for one in group if one.stored_at > limit]
        chosen.append(max(timely, key=_sequence))
        doubled += len(timely) - 1
    return sorted(chosen, key=lambda one: (one.place.started, _sequence(one))), doubled, late


def _sequence(segment: Backup) -> int:
    return segment.manifest.sequence if segment.manifest else 0


def _is_raw(segment: Backup) -> bool:
    return segment.manifest is not None and UNSCRUBBED in segment.manifest.suspicious


def _within(segment: Backup, since: datetime | None, until: datetime | None) -> bool:
    cut = segment.place.started
    return (since is None or clock.stamp(since) <= cut) and (
        until is None or cut <= clock.stamp(until)
    )


def to_output(
    chosen: Chosen, output: BinaryIO, *, progress: fetch.Fetched = lambda _: None
) -> Restored:
    """Write all segments, one after the other; what was written before an error is not the whole.

    Raise what restoring a backup raises.
    """
    result = Restored(warnings=list(chosen.warnings))
    for segment in chosen.segments:
        done = restore.restore(
            chosen.config,
            chosen.store,
            segment,
            make.ledger_of(chosen.config),
            _nowhere,
            output=output,
            progress=progress,
        )
        _count(result, done)
    return result


def to_directory(
    chosen: Chosen, target: Path, *, progress: fetch.Fetched = lambda _: None
) -> Restored:
    """Write each segment into a new file of the directory, which is made when it is not there.

    A file gets its name when all of it is there. Raise TARGET_EXISTS before anything is fetched
    when something is in the directory, and what restoring a backup raises.
    """
    _prepare(target)
    result = Restored(warnings=list(chosen.warnings))

    def request(details: Details) -> RestoreRequest:
        path = target / file_name(details.facts)
        result.files.append(path.name)
        return RestoreRequest(target=str(path), facts=details.facts)

    for segment in chosen.segments:
        done = restore.restore(
            chosen.config,
            chosen.store,
            segment,
            make.ledger_of(chosen.config),
            request,
            progress=progress,
        )
        _count(result, done)
    return result


def _count(result: Restored, done: restore.Restored) -> None:
    result.segments += 1
    result.plain_bytes += done.plain_bytes
    result.warnings += [one for one in done.warnings if one not in result.warnings]


def _nowhere(details: Details) -> RestoreRequest:
    return RestoreRequest(target=restore.STANDARD_OUTPUT, facts=details.facts)


def _prepare(target: Path) -> None:
    try:
        target.mkdir(mode=0o700, exist_ok=True)
        if any(target.iterdir()):
            raise Art32Error(
                Code.TARGET_EXISTS,
                f"the directory `{target}` is not empty",
                hint="name a directory that does not exist",
            )
    except OSError as error:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the directory `{target}` cannot be used: {(error.strerror or 'error').lower()}",
            hint="name a directory that does not exist, below one that does",
        ) from error


def file_name(facts: dict[str, Any]) -> str:
    """Return the file that a segment comes back as; raise SUSPECT for details that no host of ours
    has written: whoever signs may be a stolen host, and this becomes a path."""
    file, cut, segment = (str(facts.get(key, "")) for key in ("file", "cut", "segment"))
    if not (_FILE.fullmatch(file) and _STAMP.fullmatch(cut) and _ID.fullmatch(segment)):
        raise Art32Error(
            Code.SUSPECT,
            "the details of a segment hold no proper name for its file",
            hint="restore it to standard output with `--to -`, and look at the host that signed it",
        )
    return f"{file}-{cut}-{segment}.log"
