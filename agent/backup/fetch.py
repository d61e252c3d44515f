"""From objects in a store back to plaintext: every byte is checked before it is handed on.

A segment is fetched, compared with its signed hash, and decrypted whole before any of it is used.
Several segments are under way at once; memory is bounded by their number.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator

from agent import parallel
from agent.backup import layout
from agent.backup.catalog import Backup
from agent.backup.manifest import Details, Manifest, ObjectEntry, sha256
from agent.backup.plaintext import Plaintext
from agent.crypto import symmetric
from agent.crypto.home import Home
from agent.errors import Art32Error, Code
from agent.memory import Buffer, Pool
from agent.store import Bytes, Store

WORKERS = max(1, min(4, os.cpu_count() or 1))
Fetched = Callable[[int], None]


def fetch(store: Store, backup: Backup, entry: ObjectEntry) -> bytes:
    """Return an object's bytes; raise CORRUPT unless they are the signed ones."""
    data = store.get(backup.place.name(entry.name), limit=entry.size)
    _require_signed(backup, entry, data)
    return data


def _require_signed(backup: Backup, entry: ObjectEntry, data: Bytes) -> None:
    if len(data) != entry.size or sha256(data) != entry.sha256:
        raise Art32Error(
            Code.CORRUPT,
            f"`{entry.name[:12]}...` of backup `{backup.id}` is not what was signed",
            hint="keep it as evidence, and restore another one: art32 backup list",
        )


def details(store: Store, backup: Backup, found: Manifest, home: Home, passphrase: str) -> Details:
    """Return the encrypted details; raise CORRUPT when they are damaged or of another format."""
    data = fetch(store, backup, found.entry(layout.DETAILS))
    plain = symmetric.decrypted(home, passphrase, data, what=f"`{layout.DETAILS}`")
    try:
        return Details.model_validate_json(plain)
    except ValueError as error:
        raise Art32Error(
            Code.CORRUPT, f"the details of backup `{backup.id}` are malformed"
        ) from error


def plaintext(
    store: Store,
    backup: Backup,
    found: Manifest,
    home: Home,
    passphrase: str,
    *,
    size: int,
    fetched: Fetched = lambda _: None,
) -> Plaintext:
    """Return the dump, of `size` bytes, to be read within a `with`.

    `fetched` is told the bytes of each object that arrived. Raise, as it is read, CORRUPT,
    OBJECT_MISSING or a store's error at the first part that fails: what came before it is not the
    whole.
    """
    return Plaintext(_segments(store, backup, found.segments, home, passphrase, fetched), size=size)


def _segments(
    store: Store,
    backup: Backup,
    entries: list[ObjectEntry],
    home: Home,
    passphrase: str,
    fetched: Fetched,
) -> Generator[memoryview, None, None]:
    """Yield the plaintext of each segment; it is there until the next one is asked for."""
    capacity = max((entry.size for entry in entries), default=0)
    sealed, opened = Pool(WORKERS, capacity), Pool(WORKERS + 1, capacity)

    def one(entry: ObjectEntry) -> Buffer:
        name = backup.place.name(entry.name)
        source, target = sealed.take(), opened.take()
        try:
            source.fill(lambda room: store.get_into(name, room[: entry.size]))
            _require_signed(backup, entry, source.view)
            symmetric.decrypt(home, passphrase, source, target, what=f"`{entry.name[:12]}...`")
        finally:
            sealed.give(source)
        return target

    with contextlib.closing(parallel.ordered(one, entries, workers=WORKERS)) as decrypted:
        for entry, target in zip(entries, decrypted, strict=True):
            fetched(entry.size)
            yield target.view
            opened.give(target)
