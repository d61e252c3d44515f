"""Verification in three tiers, each of which shows more and costs more.

*listing*: signature, pin, place, names and sizes. *hashes*: the store's own SHA-256 of every
object, or the bytes themselves where it keeps none. *decrypt*: everything, down to the plaintext's
checksum; needs a private key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from agent import parallel
from agent.backup import catalog, fetch, make
from agent.backup.catalog import Backup, State
from agent.backup.manifest import ObjectEntry
from agent.backup.restore import opened
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.store import Store

_READERS = 4


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
    with opened(config, store, backup) as (ready, home):
        count = sum(
            len(chunk)
            for chunk in fetch.plaintext(
                store, backup, ready.manifest, home, ready.passphrase, fetched=progress
            )
        )
        if count != ready.details.plain_bytes:
            raise Art32Error(
                Code.CORRUPT, "the stream has another length than its signed details say"
            )
