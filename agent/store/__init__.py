"""Stores: where encrypted objects go. One protocol, one conformance suite for all of them.

An object is immutable: it appears whole, once, under a name that nobody writes again. Names are
relative POSIX paths without a leading slash; a store puts its own prefix before them.
Everything that comes back from a store is untrusted.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from agent.config.model import DirectoryStore, S3Store, StoreConfig

Bytes = bytes | bytearray | memoryview


class Computed(str):
    """A SHA-256 (hex) that was just computed from the very bytes it goes with, by `digest`."""

    __slots__ = ()


def digest(data: Bytes) -> Computed:
    """Return the SHA-256 of bytes, for a `put` that need not compute it again."""
    return Computed(hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class StoredObject:
    """One object as a listing shows it: the *oldest* version of its name."""

    name: str
    size: int
    stored_at: datetime
    retained_until: datetime | None = None


class Deletion(Enum):
    """What became of an object that was to be deleted."""

    DELETED = "deleted"
    ABSENT = "absent"
    RETAINED = "retained"


@dataclass(frozen=True)
class StoreFacts:
    """What a store says of itself, for `doctor`; None where it does not say or may not be asked."""

    versioned: bool | None = None
    default_retention_days: int | None = None
    default_retention_mode: str | None = None
    notes: tuple[str, ...] = field(default=())


class Store(Protocol):
    """Where objects are put, listed, read and deleted. Implementations are safe between threads."""

    @property
    def address(self) -> str:
        """How to name this store in a message: no credential in it."""

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        """Store an object, durable when this returns, and checked by its SHA-256 (hex).

        A store that sends the bytes away has them checked where they arrive, a directory checks
        them here unless the hash comes from `digest`.
        Never replaces: raise OBJECT_EXISTS when the name is taken, unless an earlier attempt of
        this very call may have stored it (its reply was lost).
        Raise STORE_UNREACHABLE, STORE_REFUSED, STORE_FULL, STORE_MISSING or STORE_FAILED.
        """

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose names start with `prefix`, in order of their names."""

    def get(self, name: str, *, limit: int) -> bytes:
        """Return the oldest version of an object.

        Raise OBJECT_MISSING, or CORRUPT when it is larger than `limit` bytes (a store may lie).
        """
        with mmap.mmap(-1, max(1, limit)) as room:  # pages that nothing is written to cost nothing
            with memoryview(room)[:limit] as target:
                length = self.get_into(name, target)
            return room[:length]

    def get_into(self, name: str, target: memoryview) -> int:
        """Write the oldest version of an object to the start of some memory; return its length.

        Raise as `get`, where the limit is the length of the memory.
        """

    def checksum(self, name: str) -> str | None:
        """Return the SHA-256 (hex) that the store itself computed, None when it keeps none.

        A directory reads the file; S3 answers from the object's metadata without a download.
        Raise OBJECT_MISSING.
        """

    def delete(self, name: str) -> Deletion:
        """Delete every version of an object; say RETAINED when a lock keeps one of them."""

    def now(self) -> datetime:
        """Return the store's own clock."""

    def facts(self) -> StoreFacts:
        """Return what the store says of itself."""


def open_store(config: StoreConfig) -> Store:
    """Given the `[store]` section, return its store; nothing is contacted yet."""
    match config:
        case DirectoryStore():
            from agent.store.directory import Directory

            return Directory(config)
        case S3Store():
            from agent.store.s3 import S3

            return S3(config)
