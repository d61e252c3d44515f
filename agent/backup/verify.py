"""Verification in three tiers, each of which shows more and costs more.

*listing*: signature, pin, place, names and sizes. *hashes*: the store's own SHA-256 of every
object, or the bytes themselves where it keeps none. *decrypt*: everything, down to the plaintext's
checksum; needs a private key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from agent import parallel
from agent.backup import catalog, fetch, history, identity, make, missing, wal_chain
from agent.backup.catalog import Backup, State, Unit
from agent.backup.manifest import ObjectEntry
from agent.backup.newest import newest_of
from agent.backup.restore import opened
from agent.backup.wal import place
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.ledger import Record
from agent.store import Store

_READERS = 4
_UNRECORDED = (Code.DISK, Code.PERMISSION)


class Tier(Enum):
    """How deep to look."""

    LISTING = "listing"
    HASHES = "hashes"
    DECRYPT = "decrypt"


@dataclass(frozen=True)
class Verified:
    """A backup, how deep it was looked at, and what is wrong with it (empty: nothing)."""

    backup: Backup
    tier: Tier
    problem: str

    @property
    def good(self) -> bool:
        return not self.problem


@dataclass(frozen=True)
class Missing:
    """A backup that should be in the store and is not; without an id, any good and recent backup of
    its source."""

    source: str
    id: str | None
    problem: str
    code: Code = Code.NO_BACKUP
    hint: str | None = None


@dataclass(frozen=True)
class Choice:
    """What to look at, and what is plain without a look: `missing` is a defect as well.

    `broken` are the units of the chosen backups that are not whole; `doubts` are by source what a
    person has to hear of the warnings.
    """

    backups: tuple[Backup, ...]
    broken: tuple[Unit, ...] = ()
    missing: tuple[Missing, ...] = ()
    warnings: tuple[str, ...] = ()
    doubts: tuple[tuple[str, Art32Error], ...] = ()

    @property
    def stored_bytes(self) -> int:
        return sum(backup.stored_bytes for backup in self.backups)


def choose(
    config: Configuration,
    store: Store,
    *,
    ids: Sequence[str] = (),
    host: str | None = None,
    source: str | None = None,
    newest: bool = False,
) -> Choice:
    """Return the backups of those ids, else the newest of each source, else all with a signature.

    A set is chosen as a whole, except by ids. Raise NO_BACKUP when there is nothing to look at
    and nothing is known to be missing, and what the listing raises.
    """
    host = host or config.host
    records, warnings = _records(config)  # before the store: what is made meanwhile is not missing
    readable, local = not warnings, history.read(records)
    with identity.reader(config) as reader:
        backups = catalog.read(store, reader, config.store.prefix, host=host, source=source)
        warnings += reader.notes
    units = catalog.units(backups)
    running = frozenset() if ids else missing.unfinished(units, store.now())
    units = [unit for unit in units if unit.key not in running]
    lost: list[Missing] = []
    doubts: list[tuple[str, Art32Error]] = []
    if ids:
        chosen = [catalog.find(backups, one) for one in ids]
    else:
        if newest:
            accepted = catalog.accepted_ids(backups, local.accepted)
            found = newest_of(config, store, units, accepted)
            chosen = [one for unit in found.picked for one in unit.backups]
            doubts = found.doubts
            warnings += [*(error.sentence for _, error in doubts), *found.notes]
            lost += _without(config, backups, host, source)
            told = {one.source for one in lost}
            lost += [
                Missing(name, None, error.sentence, error.code, error.hint)
                for name, error in found.lacking
                if name not in told
            ]
        else:
            chosen = [backup for backup in backups if backup.state is not State.ABSENT]
        after = missing.since(config.retention, store.now())
        vanished = missing.vanished(backups, records, after=after, host=host, source=source)
        lost += [Missing(one.source, one.id, missing.vanished_note(one)) for one in vanished]
        log = wal_chain.read(place.open_archive(config.store), chosen)
        lost += [
            Missing(one.backup.place.source, one.backup.id, one.problem)
            if one.backup is not None
            else Missing(f"wal of {one.host}", None, one.problem)
            for one in log.findings
        ]
        warnings += log.notes
        if source is None:  # the sources of a host share one sequence
            warnings += missing.gap_notes(backups, records, after=after)
    if not chosen and not any(one.id for one in lost):
        raise Art32Error(Code.NO_BACKUP, "there is nothing to verify", hint="art32 backup run")
    if readable:
        warnings += ledger_notes(config, backups)
    places = {backup.place for backup in chosen}
    broken = [
        unit for unit in units if unit.broken_set and places & {one.place for one in unit.backups}
    ]
    return Choice(tuple(chosen), tuple(broken), tuple(lost), tuple(warnings), tuple(doubts))


def _records(config: Configuration) -> tuple[list[Record], list[str]]:
    """Return the ledger, and a sentence when this user may not read it; raise LEDGER_BROKEN."""
    try:
        return list(make.ledger_of(config).records()), []
    except Art32Error as error:
        if error.code not in _UNRECORDED:
            raise
        return [], [error.sentence]


def _without(
    config: Configuration, backups: Sequence[Backup], host: str, source: str | None
) -> list[Missing]:
    """Return the sources of this host that have no backup at all."""
    there = {backup.place.source for backup in backups if backup.state is not State.ABSENT}
    return [
        Missing(one.name, None, "there is no backup of it at all")
        for one in config.sources
        if host == config.host and one.name not in there and source in (None, one.name)
    ]


def verify_all(
    config: Configuration,
    store: Store,
    choice: Choice,
    tier: Tier,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Verified]:
    """Look at every chosen backup; a part of a set that is not whole is not good."""
    parts = {one.place: len(unit.backups) for unit in choice.broken for one in unit.backups}
    results = []
    for backup in choice.backups:
        result = verify(config, store, backup, tier, progress=progress)
        if result.good and backup.place in parts and backup.manifest and backup.manifest.set:
            entry = backup.manifest.set
            result = replace(
                result,
                problem=f"part {entry.number} of a set that is not whole: "
                f"{parts[backup.place]} of {entry.size} parts are there",
            )
        results.append(result)
    return results


def errors(results: Sequence[Verified], choice: Choice) -> list[tuple[str, Art32Error]]:
    """Return what is to be reported: each source with what is wrong with its backups, once for each
    kind of wrong."""
    found: dict[tuple[str, Code], list[str]] = {}
    hints: dict[tuple[str, Code], str | None] = {}
    for one in results:
        if not one.good:
            code = catalog.CODES.get(one.backup.state, Code.CORRUPT)
            found.setdefault((one.backup.place.source, code), []).append(one.problem)
    for lost in choice.missing:
        found.setdefault((lost.source, lost.code), []).append(lost.problem)
        hints.setdefault((lost.source, lost.code), lost.hint)
    told = [
        (
            source,
            Art32Error(
                code,
                f"{len(problems)} of `{source}`: {problems[0]}",
                hint=hints.get((source, code)),
            ),
        )
        for (source, code), problems in found.items()
    ]
    known = set(found)
    return told + [(name, one) for name, one in choice.doubts if (name, one.code) not in known]


def record(config: Configuration, tier: Tier, *, good: int, bad: int) -> list[str]:
    """Record a verification; return a sentence when that cannot be written, raise LEDGER_BROKEN.

    Unlike a backup, a verification is worth its result even without a record.
    """
    try:
        make.ledger_of(config).append(history.VERIFIED, tier=tier.value, good=good, bad=bad)
    except Art32Error as error:
        if error.code not in _UNRECORDED:
            raise
        return [f"{error.sentence}: this verification has no record"]
    return []


def verify(
    config: Configuration,
    store: Store,
    backup: Backup,
    tier: Tier,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Look at one backup; what is wrong with it alone is in the result.

    Raise when the store does not answer, or when no private key is there or opens it.
    """
    if backup.state is not State.COMPLETE:
        return Verified(backup, tier, f"{backup.state.value}: {backup.reason}")
    try:
        if tier is Tier.HASHES:
            _hashes(store, backup, progress)
        elif tier is Tier.DECRYPT:
            _decrypt(config, store, backup, progress)
    except Art32Error as error:
        if error.code in catalog.UNREADABLE:
            return Verified(backup, tier, f"it cannot be read: {error.sentence}")
        if error.code not in (Code.CORRUPT, Code.OBJECT_MISSING):
            raise
        return Verified(backup, tier, error.sentence)
    return Verified(backup, tier, "")


def ledger_notes(config: Configuration, backups: Iterable[Backup]) -> list[str]:
    """Return a sentence when this host's ledger lacks what its newest backup was signed over.

    A ledger whose end was cut off or rewritten is a whole chain in itself; the signed manifest in
    the store remembers its head. Says nothing on a machine that has no backups of its own.
    """
    own = [
        backup.manifest
        for backup in backups
        if backup.manifest is not None and backup.place.host == config.host
    ]
    ledger = make.ledger_of(config)
    if config.signing is None or not own:
        return []
    newest = max(own, key=lambda found: found.sequence)
    if newest.signer != config.signing.fingerprint or ledger.contains(newest.ledger):
        return []
    lost = f"the ledger `{ledger.path}` lacks the record that backup `{newest.id}` was signed over"
    return [f"{lost}: its end was cut off or rewritten, or it was lost"]


def _hashes(store: Store, backup: Backup, progress: Callable[[int], None]) -> None:
    def one(entry: ObjectEntry) -> int:
        kept = store.checksum(backup.place.name(entry.name))
        if kept is None:
            fetch.fetch(store, backup, entry)
        elif kept != entry.sha256:
            raise Art32Error(Code.CORRUPT, f"`{entry.name[:12]}...` is not what was signed")
        return entry.size

    entries = catalog.require_complete(backup).objects
    with contextlib.closing(parallel.ordered(one, entries, workers=_READERS)) as sizes:
        for size in sizes:
            progress(size)


def _decrypt(
    config: Configuration, store: Store, backup: Backup, progress: Callable[[int], None]
) -> None:
    with (
        opened(config, store, backup) as (ready, home),
        ready.plaintext(store, home, progress) as stream,
        open(os.devnull, "wb") as nowhere,
    ):
        stream.pour(nowhere.fileno())
