"""From a stream to segments: nothing is lost at a boundary, and a failure is never a success."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent import compression
from agent.backup import layout
from agent.backup.layout import Place
from agent.backup.manifest import sha256
from agent.backup.segments import UPLOADS, SegmentWriter, Totals
from agent.config.model import DirectoryStore
from agent.crypto import symmetric
from agent.crypto.home import Home, isolated_home
from agent.crypto.symmetric import OVERHEAD
from agent.errors import Art32Error, Code
from agent.store import Bytes
from agent.store.directory import Directory

PLACE = Place("db1", "app", "20261123T031500Z", "0123456789abcdef")
ROOM = 4096
SEGMENT = ROOM + OVERHEAD


class Watched(Directory):
    """A directory store that calls a function before each PUT and keeps what was put."""

    def __init__(self, path: Path) -> None:
        super().__init__(DirectoryStore(kind="directory", path=path))
        self.before: Callable[[int], None] = lambda _: None
        self.guard = threading.Lock()
        self.calls = 0
        self.running = 0
        self.most = 0

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        with self.guard:
            self.calls += 1
            call = self.calls
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self.before(call)
            super().put(name, data, sha256=sha256)
        finally:
            with self.guard:
                self.running -= 1


@pytest.fixture
def store(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with isolated_home() as found:
        yield found


@pytest.fixture(scope="module")
def passphrase() -> str:
    return symmetric.new_passphrase()


def writer(home: Home, passphrase: str, store: Watched) -> SegmentWriter:
    return SegmentWriter(home, passphrase, store, PLACE, segment_bytes=SEGMENT)


def compressed(home: Home, passphrase: str, store: Watched, totals: Totals) -> list[bytes]:
    """Fetch and decrypt the segments, each compared with its entry."""
    parts = []
    for number, entry in enumerate(totals.segments):
        data = store.get(PLACE.name(entry.name), limit=entry.size)
        assert layout.parse_segment(entry.name) == (number, sha256(data))
        assert (len(data), sha256(data)) == (entry.size, entry.sha256)
        assert entry.size <= SEGMENT
        parts.append(bytes(symmetric.decrypted(home, passphrase, data, what="it")))
    return parts


@pytest.mark.parametrize("size", [0, 1, 100, ROOM - 30, ROOM, 3 * ROOM, 10 * ROOM + 7])
def test_what_is_written_comes_back(home: Home, passphrase: str, store: Watched, size: int) -> None:
    data = os.urandom(size)
    made = writer(home, passphrase, store)
    for begin in range(0, size, 3000):
        made.write(data[begin : begin + 3000])
    totals = made.finish()
    parts = compressed(home, passphrase, store, totals)
    assert b"".join(compression.decompress(iter(parts))) == data
    assert totals.plain == size
    assert totals.compressed == sum(len(part) for part in parts)
    assert totals.stored == sum(entry.size for entry in totals.segments)
    assert len(list(store.list())) == len(totals.segments) >= 1


@pytest.mark.parametrize("count", [ROOM - 1, ROOM, ROOM + 1, 2 * ROOM - 1, 2 * ROOM, 2 * ROOM + 1])
def test_every_segment_but_the_last_is_full_and_none_is_empty(
    home: Home, passphrase: str, store: Watched, count: int
) -> None:
    made = writer(home, passphrase, store)
    made._cut(bytes(count))
    if made._current is not None:
        made._seal()
    for thread in made._threads:
        thread.join()
    entries = [made._done[number] for number in range(made._number)]
    sizes = [len(part) for part in compressed(home, passphrase, store, Totals(segments=entries))]
    assert sizes == [ROOM] * (count // ROOM) + ([count % ROOM] if count % ROOM else [])


FULL = Art32Error(Code.STORE_FULL, "the store has no room left")


@pytest.mark.parametrize("failing", [1, 2, 3, 6])
def test_an_upload_that_fails_at_any_segment_fails_the_whole(
    home: Home, passphrase: str, store: Watched, failing: int
) -> None:
    def fail(call: int) -> None:
        if call == failing:
            raise FULL

    store.before = fail
    made = writer(home, passphrase, store)

    def everything() -> None:
        for _ in range(8):
            made.write(os.urandom(ROOM))
        made.finish()

    with pytest.raises(Art32Error) as caught:
        everything()
    assert caught.value is FULL
    made.abort()


def test_an_upload_that_fails_last_fails_the_whole(
    home: Home, passphrase: str, store: Watched
) -> None:
    made = writer(home, passphrase, store)
    made.write(b"small")

    def fail(_: int) -> None:
        raise FULL

    store.before = fail
    with pytest.raises(Art32Error):
        made.finish()


def test_uploads_in_flight_are_few_however_slow_the_store_is(
    home: Home, passphrase: str, store: Watched
) -> None:
    gate, seen = threading.Event(), threading.Event()

    def wait(call: int) -> None:
        if call >= UPLOADS:
            seen.set()
        gate.wait(30)

    store.before = wait
    made = writer(home, passphrase, store)
    data = os.urandom(20 * ROOM)
    results: list[Totals] = []

    def work() -> None:
        for begin in range(0, len(data), ROOM):
            made.write(data[begin : begin + ROOM])
        results.append(made.finish())

    thread = threading.Thread(target=work)
    thread.start()
    assert seen.wait(30)
    assert len([one for one in threading.enumerate() if one in made._threads]) <= UPLOADS + 1
    assert results == []
    gate.set()
    thread.join(60)
    assert store.most <= UPLOADS + 1
    parts = compressed(home, passphrase, store, results[0])
    assert b"".join(compression.decompress(iter(parts))) == data


def test_aborting_kills_the_running_gpg_and_stores_nothing_more(
    home: Home, passphrase: str, store: Watched
) -> None:
    room = 48 << 20
    made = SegmentWriter(home, passphrase, store, PLACE, segment_bytes=room + OVERHEAD)
    made._cut(bytes(room + 10))
    end = time.monotonic() + 30
    while not made._running:
        assert time.monotonic() < end
    (running,) = made._running
    pid = running._process.pid
    assert Path(f"/proc/{pid}").exists()
    made.abort()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(RuntimeError, match="aborted"):
        made._cut(bytes(10))
    for thread in made._threads:
        thread.join()
    assert list(store.list()) == []


def test_aborting_an_idle_writer_twice_is_harmless(
    home: Home, passphrase: str, store: Watched
) -> None:
    made = writer(home, passphrase, store)
    made.abort()
    made.abort()
    assert list(store.list()) == []


def test_progress_counts_plain_bytes(home: Home, passphrase: str, store: Watched) -> None:
    seen: list[int] = []
    made = SegmentWriter(
        home,
        passphrase,
        store,
        PLACE,
        segment_bytes=SEGMENT,
        progress=lambda totals: seen.append(totals.plain),
    )
    for _ in range(3):
        made.write(bytes(10))
    made.finish()
    assert seen == [10, 20, 30]
