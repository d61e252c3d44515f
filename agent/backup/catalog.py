"""The catalog: a listing of the store, and the one place that judges what a backup is.

*absent*: no signature. *complete*: signed by the key pinned for its host, at a time when that key
was valid, for this very place, with every object there in its signed size. *pending*: signed by a
key that nobody has pinned yet. *unreadable*: the store did not give its manifest or signature this
time, so that nobody knows. *suspect*: anything else; kept, alarmed, never restored.
Age and order go by the store's clock, never by a name or by the host's clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from itertools import groupby

from agent import parallel
from agent.backup import layout, manifest
from agent.backup.identity import Reader
from agent.backup.layout import Place
from agent.backup.manifest import Manifest
from agent.crypto.signatures import Validity
from agent.errors import Art32Error, Code
from agent.store import Store, StoredObject

SIGNATURE_LIMIT = 64 << 10
_READERS = 8
SHORTEST_ID = 4
UNREADABLE = (Code.STORE_REFUSED, Code.STORE_FAILED)


class State(Enum):
    """What a backup is."""

    ABSENT = "absent"
    COMPLETE = "complete"
    PENDING = "pending"
    SUSPECT = "suspect"
    UNREADABLE = "unreadable"


DOUBTFUL = frozenset({State.PENDING, State.SUSPECT, State.UNREADABLE})
"""What may be a backup after all: nothing that it may need is deleted while it is there."""

CODES = {
    State.SUSPECT: Code.SUSPECT,
    State.PENDING: Code.PENDING,
    State.UNREADABLE: Code.STORE_FAILED,
}
"""What is reported of a backup in a doubtful state."""


@dataclass(frozen=True)
class Backup:
    """One backup as the store shows it.

    `stored_at` is the store's time of its signature, or of its newest object where it has none.
    """

    place: Place
    state: State
    reason: str
    stored_at: datetime
    stored_bytes: int
    objects: tuple[StoredObject, ...]
    manifest: Manifest | None = None
    manifest_sha256: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def place_key(self) -> tuple[str, str]:
        """The host and the source that it belongs to."""
        return self.place.host, self.place.source

    @property
    def retained_until(self) -> datetime | None:
        """Until when a lock keeps some of it, as far as the listing says."""
        ends = [item.retained_until for item in self.objects if item.retained_until]
        return max(ends) if ends else None


@dataclass(frozen=True)
class Unit:
    """What is kept or deleted as one: a backup, or all backups of a set."""

    key: str
    source: str
    host: str
    backups: tuple[Backup, ...]

    @property
    def stored_at(self) -> datetime:
        return max(backup.stored_at for backup in self.backups)

    def order(self) -> tuple[datetime, int, str]:
        """Return what units are sorted by, oldest first: of one second, as many stores tell the
        time, the one of the higher sequence came later."""
        sequences = [one.manifest.sequence for one in self.backups if one.manifest]
        return self.stored_at, max(sequences, default=0), self.key

    @property
    def signed(self) -> bool:
        """Whether anything of it has a signature, good or bad."""
        return any(backup.state is not State.ABSENT for backup in self.backups)

    @property
    def broken_set(self) -> bool:
        """Whether it is a set of which a part is missing."""
        return not self.whole and any(
            backup.manifest is not None and backup.manifest.set is not None
            for backup in self.backups
        )

    @property
    def whole(self) -> bool:
        """Whether every part of it is there and complete."""
        if any(backup.state is not State.COMPLETE for backup in self.backups):
            return False
        entries = [backup.manifest.set for backup in self.backups if backup.manifest]
        first = entries[0]
        if first is None or len(entries) != first.size:
            return first is None and len(entries) == 1
        numbers = {entry.number for entry in entries if entry and entry.size == first.size}
        return numbers == set(range(1, first.size + 1))

    def good(self, accepted: frozenset[str]) -> bool:
        """Whether it counts: whole, and every suspicious part of it accepted by a person."""
        return self.whole and all(
            backup.manifest is not None
            and (not backup.manifest.suspicious or backup.id in accepted)
            for backup in self.backups
        )


def read(
    store: Store, reader: Reader, prefix: str, *, host: str | None = None, source: str | None = None
) -> list[Backup]:
    """Return the backups of a store, in the order in which they were stored.

    Objects under foreign names are left alone. Raise what the listing raises; a backup that the
    store does not give is unreadable, but a store that does not answer is an error.
    """
    start = "" if host is None else f"{host}/" if source is None else f"{host}/{source}/"
    groups = _grouped(store.list(start))
    with contextlib.closing(
        parallel.ordered(
            lambda group: judge(store, reader, prefix, *group), groups, workers=_READERS
        )
    ) as judged:
        found = [backup for backup in judged if source is None or backup.place.source == source]
    found.sort(key=_order)
    return _with_chain_notes(found)


def _order(backup: Backup) -> tuple[datetime, int, Place]:
    # stores that tell whole seconds hold several backups of one second
    return backup.stored_at, backup.manifest.sequence if backup.manifest else 0, backup.place


def _grouped(
    objects: Iterable[StoredObject],
) -> Iterator[tuple[Place, dict[str, StoredObject]]]:
    named = ((parsed, item) for item in objects if (parsed := layout.parse(item.name)))
    for place, group in groupby(named, key=lambda pair: pair[0][0]):
        yield place, {parsed[1]: item for parsed, item in group}


def judge(
    store: Store, reader: Reader, prefix: str, place: Place, objects: dict[str, StoredObject]
) -> Backup:
    """Return what the objects of one place are worth."""

    def verdict(state: State, reason: str, found: Manifest | None = None, **more: object) -> Backup:
        signature = objects.get(layout.SIGNATURE)
        newest = max(item.stored_at for item in objects.values())
        return Backup(
            place=place,
            state=state,
            reason=reason,
            stored_at=signature.stored_at if signature else newest,
            stored_bytes=sum(item.size for item in objects.values()),
            objects=tuple(objects.values()),
            manifest=found,
            manifest_sha256=str(more["digest"]) if "digest" in more else None,
            notes=tuple(more.get("notes", ())),  # type: ignore[arg-type]
        )

    if layout.SIGNATURE not in objects:
        return verdict(State.ABSENT, "no signature: a run that failed or is in progress")
    if layout.MANIFEST not in objects:
        return verdict(State.SUSPECT, "the manifest is missing")
    try:
        data = store.get(place.name(layout.MANIFEST), limit=manifest.MANIFEST_LIMIT)
        seal = store.get(place.name(layout.SIGNATURE), limit=SIGNATURE_LIMIT)
    except Art32Error as error:
        if error.code in (Code.CORRUPT, Code.OBJECT_MISSING):
            return verdict(State.SUSPECT, error.sentence)
        if error.code in UNREADABLE:  # of one backup: the others must not be lost with it
            return verdict(State.UNREADABLE, f"it cannot be read: {error.sentence}")
        raise
    signature = reader.keyring.verify(data, seal)
    if signature.validity is Validity.UNKNOWN_SIGNER:
        return verdict(State.PENDING, signature.validity.value)
    if signature.validity is not Validity.GOOD:
        return verdict(State.SUSPECT, signature.validity.value)
    pins = [pin for pin in reader.pins if pin.fingerprint == signature.signer]
    pin = next((pin for pin in pins if pin.host == place.host), None)
    if pin is None:
        return verdict(State.SUSPECT, "signed by the key of another host")
    if pin.purpose is not None:
        return verdict(State.SUSPECT, "signed by a key that is for the write-ahead log alone")
    try:
        found = manifest.parse(data)
    except ValueError as error:
        return verdict(State.SUSPECT, f"the manifest is malformed: {error}")
    if not found.binds(prefix, place) or found.signer != signature.signer:
        return verdict(State.SUSPECT, "the manifest was made for another place")
    if pin.retired_after_sequence is not None and found.sequence > pin.retired_after_sequence:
        return verdict(State.SUSPECT, "signed by a key after its retirement")
    if pin.ended(objects[layout.SIGNATURE].stored_at):
        return verdict(State.PENDING, "stored after the list of pinned hosts had ended")
    for entry in found.objects:
        item = objects.get(entry.name)
        if item is None:
            return verdict(State.SUSPECT, f"`{entry.name[:12]}...` is missing")
        if item.size != entry.size:
            return verdict(State.SUSPECT, f"`{entry.name[:12]}...` has another size")
    extra = len(objects) - len(found.objects) - 2
    notes = (f"{extra} objects that nobody signed",) if extra else ()
    return verdict(State.COMPLETE, "", found, digest=manifest.sha256(data), notes=notes)


def _with_chain_notes(backups: list[Backup]) -> list[Backup]:
    """Add a note where the sequence of a host's key is doubled, or its chain of hashes broken."""
    by_sequence: dict[tuple[str, int], list[Backup]] = {}
    for backup in backups:
        if backup.manifest is not None:
            key = (backup.manifest.signer, backup.manifest.sequence)
            by_sequence.setdefault(key, []).append(backup)
    result = []
    for backup in backups:
        notes = list(backup.notes)
        if backup.manifest is not None:
            signer, number = backup.manifest.signer, backup.manifest.sequence
            if len(by_sequence[signer, number]) > 1:
                notes.append(f"sequence {number} stands twice: the host lost its ledger")
            before = by_sequence.get((signer, number - 1), [])
            if before and backup.manifest.previous not in {one.manifest_sha256 for one in before}:
                notes.append(f"does not follow the backup of sequence {number - 1}")
        result.append(replace(backup, notes=tuple(notes)))
    return result


def units(backups: Iterable[Backup]) -> list[Unit]:
    """Return the backups as units, sets together, in the order in which they were stored."""
    groups: dict[tuple[str, str, str], list[Backup]] = {}
    for backup in backups:
        entry = backup.manifest.set if backup.manifest else None
        # by its place, not its id: whoever may add objects can begin a place with any id
        own = f"set-{entry.id}" if entry else backup.place.path
        groups.setdefault((backup.place.host, backup.place.source, own), []).append(backup)
    found = [
        Unit(key=key, host=host, source=source, backups=tuple(group))
        for (host, source, key), group in groups.items()
    ]
    return sorted(found, key=Unit.order)


def accepted_ids(backups: Iterable[Backup], local: Iterable[str] = ()) -> frozenset[str]:
    """Return the suspicious backups that a person accepted: here, or on their host."""
    found = set(local)
    for backup in backups:
        if backup.manifest is not None:
            found.update(backup.manifest.accepted)
    return frozenset(found)


def accepted_by_host(
    backups: Iterable[Backup], local: Iterable[str] = ()
) -> dict[str, frozenset[str]]:
    """Return `accepted_ids` of each host alone: a host accepts its own backups and no others."""
    groups: dict[str, list[Backup]] = {}
    for backup in backups:
        groups.setdefault(backup.place.host, []).append(backup)
    return {host: accepted_ids(group, local) for host, group in groups.items()}


def find(backups: Iterable[Backup], wanted: str) -> Backup:
    """Return the backup of that id, or of an unambiguous beginning of it; raise NO_BACKUP.

    Junk that borrows the id of a backup with a signature does not make that id ambiguous.
    """
    matching = [backup for backup in backups if backup.id.startswith(wanted)]
    if len({backup.id for backup in matching}) == 1:
        signed = [backup for backup in matching if backup.state is State.COMPLETE]
        matching = signed if len(signed) == 1 else matching
    if len(matching) == 1 and len(wanted) >= SHORTEST_ID:
        return matching[0]
    if len(matching) > 1 or (matching and len(wanted) < SHORTEST_ID):
        raise Art32Error(
            Code.NO_BACKUP, f"`{wanted}` is the beginning of several ids", hint="give more digits"
        )
    raise Art32Error(Code.NO_BACKUP, f"there is no backup `{wanted}`", hint="art32 backup list")


def require_complete(backup: Backup) -> Manifest:
    """Return the manifest of a complete backup; raise SUSPECT, PENDING, STORE_FAILED or NO_BACKUP
    otherwise."""
    if backup.state is State.COMPLETE and backup.manifest is not None:
        return backup.manifest
    code = CODES.get(backup.state, Code.NO_BACKUP)
    hints = {
        State.SUSPECT: "keep it as evidence, and restore another one: art32 backup list",
        State.PENDING: "a person looks at the host's key and accepts it: art32 host list",
        State.UNREADABLE: "try later, or look at the store: art32 doctor",
        State.ABSENT: "art32 backup list",
        State.COMPLETE: None,
    }
    raise Art32Error(
        code,
        f"backup `{backup.id}` is {backup.state.value}: {backup.reason}",
        hint=hints[backup.state],
    )
