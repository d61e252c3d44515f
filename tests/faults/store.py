"""A store that goes wrong at its n-th call, in front of a real one.

What fails, fails as the protocol allows; what lies, lies as disks, proxies and half-finished
servers do: it says that all is well.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from agent.errors import Art32Error, Code
from agent.store import Bytes, Deletion, Store, StoredObject, StoreFacts

HANG_SECONDS = 600.0
DELAY_SECONDS = 0.2
HANGING = "a-store-hangs"  #: the file in TMPDIR that says so

#: What can go wrong with a call that writes. The silent ones return as if all were well.
PUT_REFUSALS = (
    Code.STORE_UNREACHABLE,
    Code.STORE_REFUSED,
    Code.STORE_FULL,
    Code.STORE_MISSING,
    Code.STORE_FAILED,
    Code.OBJECT_EXISTS,
)
PUT_SILENT = ("drop", "truncate", "flip")
PUT_HARMLESS = ("duplicate", "delay", "reorder")

#: What can go wrong with a call that reads.
READ_REFUSALS = (
    Code.STORE_UNREACHABLE,
    Code.STORE_REFUSED,
    Code.STORE_MISSING,
    Code.STORE_FAILED,
    Code.OBJECT_MISSING,
)
READ_LIES = ("drop", "truncate", "flip", "duplicate", "reorder", "delay")


@dataclass(frozen=True)
class Fault:
    """What goes wrong: `kind` is one of the words above, `hang`, `lost-reply`, or a code's label;
    `call` the number, from 1, of the call that it befalls."""

    kind: str
    call: int

    @property
    def error(self) -> Art32Error | None:
        code = next((code for code in Code if code.label == self.kind), None)
        return Art32Error(code, "the store `test` failed as it was told to") if code else None


class FaultStore:
    """A store whose calls of put, list, get, checksum and delete are counted from 1.

    `names` keeps what was called in order, as `put key.pgp`.
    """

    def __init__(self, inner: Store, fault: Fault | None) -> None:
        self._inner = inner
        self._fault = fault
        self._count = itertools.count(1)
        self._held: list[tuple[str, bytes]] = []
        self._last = b""
        self.names: list[str] = []

    def beside(self, inner: Store) -> FaultStore:
        """Return another store whose calls are counted with those of this one."""
        other = copy.copy(self)
        other._inner, other._held = inner, []
        return other

    @property
    def address(self) -> str:
        return self._inner.address

    def _befallen(self, call: str) -> str | None:
        """Count a call; return the kind of fault that befalls it, or raise what it raises."""
        number = next(self._count)
        self.names.append(call)
        fault = self._fault
        if fault is None or number != fault.call:
            return None
        if fault.error is not None:
            raise fault.error
        if fault.kind == "hang":
            Path(tempfile.gettempdir(), HANGING).touch()
            time.sleep(HANG_SECONDS)
        if fault.kind == "delay":
            time.sleep(DELAY_SECONDS)
        return fault.kind

    def _store(self, name: str, data: bytes) -> None:
        self._inner.put(name, data, sha256=hashlib.sha256(data).hexdigest())

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        kind = self._befallen(f"put {name.rpartition('/')[2]}")
        whole = bytes(data)
        if kind == "drop":
            return
        if kind == "reorder":
            self._held.append((name, whole))
            return
        self._store(name, _spoilt(kind, whole))
        self.settle()
        if kind == "duplicate":
            with contextlib.suppress(Art32Error):  # the name is taken
                self._store(name, whole)
        if kind == "lost-reply":
            raise Art32Error(Code.STORE_UNREACHABLE, "the store `test` does not answer")

    def settle(self) -> None:
        """Store what was held back."""
        with contextlib.suppress(IndexError):  # uploads come from several threads
            while True:
                self._store(*self._held.pop())

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        kind = self._befallen(f"list {prefix}")
        items = list(self._inner.list(prefix))
        if kind == "drop":
            items = items[:-1]
        elif kind == "truncate":
            items = items[: len(items) // 2]
        elif kind == "flip":
            items = [replace(item, size=item.size ^ 1) for item in items]
        elif kind == "duplicate":
            items = [twice for item in items for twice in (item, item)]
        elif kind == "reorder":
            items.reverse()
        return iter(items)

    def get(self, name: str, *, limit: int) -> bytes:
        kind = self._befallen(f"get {name.rpartition('/')[2]}")
        data = self._inner.get(name, limit=limit)
        if kind == "drop":
            return b""
        if kind == "duplicate":
            return data + data
        if kind == "reorder":
            return self._last
        self._last = data
        return _spoilt(kind, data)

    def get_into(self, name: str, target: memoryview) -> int:
        data = self.get(name, limit=len(target))
        if len(data) > len(target):
            raise Art32Error(Code.CORRUPT, f"`{name}` is larger than it may be")
        target[: len(data)] = data
        return len(data)

    def checksum(self, name: str) -> str | None:
        kind = self._befallen(f"checksum {name.rpartition('/')[2]}")
        kept = self._inner.checksum(name)
        if kind == "drop":
            return None
        if kind in ("truncate", "flip", "duplicate", "reorder"):
            return hashlib.sha256(kind.encode()).hexdigest()
        return kept

    def delete(self, name: str) -> Deletion:
        kind = self._befallen(f"delete {name.rpartition('/')[2]}")
        if kind == "drop":
            return Deletion.DELETED
        return self._inner.delete(name)

    def now(self) -> datetime:
        return self._inner.now()

    def facts(self) -> StoreFacts:
        return self._inner.facts()


def _spoilt(kind: str | None, data: bytes) -> bytes:
    if kind == "truncate":
        return data[: len(data) // 2]
    if kind == "flip":
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    return data
