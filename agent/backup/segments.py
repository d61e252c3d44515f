"""From a stream of plaintext to encrypted segments in a store, with bounded memory.

`zstd | cut | gpg | put`: one zstd frame with a checksum, so that a lost tail cannot pass; a gpg for
each segment, one at a time; a few uploads in flight. A segment is held in memory, never on a disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import compression, memory
from agent.backup import layout
from agent.backup.layout import Place
from agent.backup.manifest import ObjectEntry, sha256
from agent.crypto.home import Home
from agent.crypto.symmetric import OVERHEAD, Encryption
from agent.store import Store

SEGMENT_BYTES = 32 << 20
UPLOADS = 3


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
        memory.return_large_blocks()
        self.totals = Totals()
        self._home = home
        self._passphrase = passphrase
        self._store = store
        self._place = place
        self._room = max(1, segment_bytes - OVERHEAD)
        self._progress = progress
        self._compressor = compression.compressor()
        self._slots = threading.BoundedSemaphore(UPLOADS + 1)
        self._guard = threading.Lock()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._done: dict[int, ObjectEntry] = {}
        self._current: Encryption | None = None
        self._filled = 0
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
        """Stop: kill the running gpg and let no further segment be stored."""
        with self._guard:
            self._failure = self._failure or RuntimeError("aborted")
        if self._current is not None:
            self._current.kill()

    def _cut(self, compressed: bytes) -> None:
        view = memoryview(compressed)
        while view:
            self._raise()
            if self._current is None:
                self._slots.acquire()
                self._raise()
                self._current = Encryption(self._home, self._passphrase, room=self._room)
                self._filled = 0
            part = view[: self._room - self._filled]
            self._current.write(part)
            self._filled += len(part)
            self.totals.compressed += len(part)
            view = view[len(part) :]
            if self._filled == self._room:
                self._seal()

    def _seal(self) -> None:
        encryption, self._current = self._current, None
        assert encryption is not None
        encryption.close_input()
        thread = threading.Thread(
            target=self._store_segment, args=(self._number, encryption), daemon=True
        )
        self._number += 1
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _store_segment(self, number: int, encryption: Encryption) -> None:
        try:
            message = encryption.finish()
            digest = sha256(message)
            name = layout.segment(number, digest)
            if self._failure is None:
                self._store.put(self._place.name(name), message, sha256=digest)
            with self._guard:
                self._done[number] = ObjectEntry(name=name, size=len(message), sha256=digest)
                self.totals.stored += len(message)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            with self._guard:
                self._failure = self._failure or error
        finally:
            self._slots.release()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure
