"""From objects in a store back to plaintext: every byte is checked before it is handed on.

A segment is fetched, compared with its signed hash, and decrypted whole before any of it is used.
Several segments are under way at once; memory is bounded by their number.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from agent import compression, memory, parallel
from agent.backup import layout
from agent.backup.catalog import Backup
from agent.backup.manifest import Details, Manifest, ObjectEntry, sha256
from agent.crypto import symmetric
from agent.crypto.home import Home
from agent.errors import Art32Error, Code
from agent.store import Store

WORKERS = max(1, min(4, os.cpu_count() or 1))
_AHEAD = 8
Fetched = Callable[[int], None]


def fetch(store: Store, backup: Backup, entry: ObjectEntry) -> bytes:
    """Return an object's bytes; raise CORRUPT unless they are the signed ones."""
    data = store.get(backup.place.name(entry.name), limit=entry.size)
    if len(data) != entry.size or sha256(data) != entry.sha256:
        raise Art32Error(
            Code.CORRUPT,
            f"`{entry.name[:12]}...` of backup `{backup.id}` is not what was signed",
            hint="keep it as evidence, and restore another one: art32 backup list",
        )
    return data


def details(store: Store, backup: Backup, found: Manifest, home: Home, passphrase: str) -> Details:
    """Return the encrypted details; raise CORRUPT when they are damaged or of another format."""
    data = fetch(store, backup, found.entry(layout.DETAILS))
    plain = symmetric.decrypt(home, passphrase, data, what=f"`{layout.DETAILS}`")
    try:
        return Details.model_validate_json(bytes(plain))
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
    fetched: Fetched = lambda _: None,
) -> Iterator[bytes]:
    """Yield the dump, at most 1 MiB at a time.

    `fetched` is told the bytes of each object that arrived. Raise CORRUPT, OBJECT_MISSING or a
    store's error at the first part that fails: what was yielded before it is not the whole.
    """
    memory.return_large_blocks()
    plain = compression.decompress(
        _segments(store, backup, found.segments, home, passphrase, fetched)
    )
    yield from parallel.ahead(plain, depth=_AHEAD)


def _segments(
    store: Store,
    backup: Backup,
    entries: list[ObjectEntry],
    home: Home,
    passphrase: str,
    fetched: Fetched,
) -> Iterator[bytearray]:
    def one(entry: ObjectEntry) -> bytearray:
        what = f"`{entry.name[:12]}...`"
        return symmetric.decrypt(home, passphrase, fetch(store, backup, entry), what=what)

    with contextlib.closing(parallel.ordered(one, entries, workers=WORKERS)) as decrypted:
        for entry, data in zip(entries, decrypted, strict=True):
            fetched(entry.size)
            yield data
