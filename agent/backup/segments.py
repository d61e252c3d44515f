"""From a stream of plaintext to encrypted segments in a store, with bounded memory.

`zstd | cut | gpg | put`: one zstd frame with a checksum, so that a lost tail cannot pass; a gpg for
each segment, one at a time; a few uploads in flight. A segment is held in memory, never on a disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import compression
from agent.backup import layout
from agent.backup.layout import Place
from agent.backup.manifest import ObjectEntry
from agent.crypto.home import Home
from agent.crypto.symmetric import OVERHEAD, Encryption
from agent.memory import Buffer, Pool
from agent.store import Store, digest

SEGMENT_BYTES = 32 << 20
UPLOADS = 3
_FILLED = 2  # one is filled while gpg reads the other


@dataclass
class Totals:
    """How much has gone through so far, in bytes."""

    plain: int = 0
    compressed: int = 0
    stored: int = 0
    segments: list[ObjectEntry] = field(default_factory=list)


class SegmentWriter:
    """Takes plaintext and stores segments; `finish` returns only when all of them are stored.

    Any failure of gpg or the store is raised from the next `write`, or from `finish`. `abort`
    ends what is under way without waiting for it.
    """

    def __init__(
        self,
        home: Home,
        passphrase: str,
        store: Store,
        place: Place,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        progress: Callable[[Totals], None] = lambda _: None,
    ) -> None:
        self.totals = Totals()
        self._home = home
        self._passphrase = passphrase
        self._target = store
        self._place = place
        room = max(1, segment_bytes - OVERHEAD)
        self._plain = Pool(_FILLED, room)
        self._encrypted = Pool(UPLOADS, room + OVERHEAD)
        self._progress = progress
        self._compressor = compression.Compressor()
        self._guard = threading.Lock()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._running: set[Encryption] = set()
        self._done: dict[int, ObjectEntry] = {}
        self._current: Buffer | None = None
        self._number = 0

    def write(self, data: bytes) -> None:
        """Add plaintext; blocks while the uploads lag behind."""
        self.totals.plain += len(data)
        self._cut(self._compressor.compress(data))
        self._progress(self.totals)

    def finish(self) -> Totals:
        """End the stream, wait for every upload, and return the totals with all segments."""
        self._cut(self._compressor.flush())
        if self._current is not None:
            self._seal()
        for thread in self._threads:
            thread.join()
        self._raise()
        self.totals.segments = [self._done[number] for number in range(self._number)]
        return self.totals

    def abort(self) -> None:
        """Stop: kill every running gpg and let no further segment be stored."""
        with self._guard:
            self._failure = self._failure or RuntimeError("aborted")
            running = list(self._running)
        for encryption in running:
            encryption.kill()

    def _cut(self, compressed: bytes) -> None:
        view = memoryview(compressed)
        while view:
            self._raise()
            if self._current is None:
                self._current = self._plain.take()
                self._raise()
            count = self._current.append(view)
            self.totals.compressed += count
            view = view[count:]
            if self._current.full:
                self._seal()

    def _seal(self) -> None:
        filled, self._current = self._current, None
        assert filled is not None
        message = self._encrypted.take()
        self._raise()
        thread = threading.Thread(
            target=self._store, args=(self._number, filled, message), daemon=True
        )
        self._number += 1
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _store(self, number: int, filled: Buffer, message: Buffer) -> None:
        try:
            try:
                self._encrypt(filled, message)
            finally:
                self._plain.give(filled)
            computed = digest(message.view)
            name = layout.segment(number, computed)
            if self._failure is None:
                self._target.put(self._place.name(name), message.view, sha256=computed)
            with self._guard:
                self._done[number] = ObjectEntry(name=name, size=message.length, sha256=computed)
                self.totals.stored += message.length
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            with self._guard:
                self._failure = self._failure or error
        finally:
            self._encrypted.give(message)

    def _encrypt(self, source: Buffer, target: Buffer) -> None:
        with self._guard:
            self._raise()
            encryption = Encryption(self._home, self._passphrase, source, target)
            self._running.add(encryption)
        try:
            encryption.finish()
        finally:
            with self._guard:
                self._running.discard(encryption)

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
