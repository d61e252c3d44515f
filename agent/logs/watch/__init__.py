"""Follows log files and feeds the scanner: no line missed, none counted twice, also after a kill.

Everything that must survive is one file, `watch.json`: offsets, what the scanner has counted, and
the day's counts. It is replaced atomically after the findings were published; findings have the
same id when the same bytes are scanned again. So a kill at any moment means: back to the last
checkpoint, and the same again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from agent import clock, files, output
from agent.config.logs_scan import Scan, Watch
from agent.errors import Art32Error, Code
from agent.logs.scan import Scanner, open_scanner
from agent.logs.scan.publish import Told, publish
from agent.logs.watch.follow import Followed
from agent.logs.watch.tail import NotFollowed, Tail
from agent.notify import Manager

_STATE = "watch.json"
_LOCK = "watch.lock"
_TICK = 0.5  # seconds between two looks at the sizes of open files
_TURN = 64  # blocks of one file before the next has its turn
_PUBLISH_SECONDS = 60.0
_SHARE = 20  # a checkpoint may take a twentieth of the time


class Watcher:
    """Files, scanner and checkpoint. Not for several threads."""

    def __init__(
        self,
        settings: Scan,
        watch: Watch,
        *,
        scrub: Callable[[bytes], bytes] | None = None,
        told: Told | None = None,
    ) -> None:
        self._settings = settings
        self._watch = watch
        self._scrub = scrub
        self._told = told
        self._path = settings.directory / _STATE
        self._known: set[str] = set()
        self._next_look = 0.0
        self._next_checkpoint = clock.monotonic() + watch.checkpoint_seconds
        self._next_publish = 0.0
        self._said: set[str] = set()
        self._day = _today()
        self.scanner: Scanner = open_scanner(settings, scrub=scrub)
        self.followed = Followed(watch.files)
        self._restore()

    def _restore(self) -> None:
        try:
            state = json.loads(self._path.read_bytes())
            self.scanner.restore(state["scanner"])
            self.followed.restore(state["tails"])
            self._day = str(state["day"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError):
            self._say(
                f"the checkpoint `{self._path}` is damaged: all files are read from the start"
            )
            self.scanner = open_scanner(self._settings, scrub=self._scrub)
            self.followed = Followed(self._watch.files)

    def _say(self, sentence: str) -> None:
        """Warn once of each thing."""
        if sentence not in self._said:
            self._said.add(sentence)
            output.say(f"warning: {sentence}")

    def step(self, *, look: bool = False) -> bool:
        """Read what there is; return whether there is more at once. `look`: at the names too."""
        moment = clock.monotonic()
        if look or moment >= self._next_look:
            tails = self.followed.look()
            self._next_look = moment + self._watch.rescan_seconds
            for name, reason in {**self.followed.missed, **self.followed.lost}.items():
                self._say(f"`{name}` is not looked at: {reason}")
            if {tail.segment for tail in tails} - self._known:
                self.checkpoint()  # a segment's name is durable before findings carry it
        tails = self.followed.open_files()
        more = False
        for tail in tails:
            if tail.segment not in self._known:
                self.checkpoint()
            more = self._read(tail) or more
        for tail in self.followed.finished():
            self._read(tail, last=True)
            tail.close()
        self._maybe_checkpoint(busy=more)
        return more

    def _read(self, tail: Tail, *, last: bool = False) -> bool:
        """Feed what stands in a file behind its offset; return whether its turn ended before."""
        blocks = tail.blocks(last=last)
        for _ in range(_TURN):
            found = next(blocks, None)
            if found is None:
                return False
            offset, block = found
            self.scanner.feed(
                block,
                source=str(tail.path),
                format=tail.format,
                segment=tail.segment,
                offset=offset,
            )
        return True

    def _maybe_checkpoint(self, *, busy: bool) -> None:
        begun = clock.monotonic()
        if begun < self._next_checkpoint:
            return
        if not busy:
            self.scanner.tally.expire(clock.now().timestamp())
        today = _today()
        if self.scanner.tally.has_changed() or begun >= self._next_publish or today != self._day:
            self.publish()
            self._next_publish = begun + _PUBLISH_SECONDS
        if today != self._day:
            self.scanner.new_day()
            self._day = today
            self.followed.lost.clear()
        self.checkpoint()
        took = clock.monotonic() - begun
        self._next_checkpoint = begun + max(self._watch.checkpoint_seconds, _SHARE * took)

    def publish(self) -> None:
        """Write findings, record and the state for health."""
        missed = {**self.followed.missed, **self.followed.lost}
        for warning in publish(
            self._settings,
            self.scanner,
            "watch",
            day=self._day,
            not_looked_at=missed,
            told=self._told,
        ):
            self._say(warning)

    def checkpoint(self) -> None:
        """Make offsets and counts durable."""
        state = {
            "schema": "art32.watch/1",
            "day": self._day,
            "tails": self.followed.state(),
            "scanner": self.scanner.state(),
        }
        with _disk(self._path):
            files.make_directory(self._path.parent)
            files.replace(self._path, json.dumps(state).encode())
        self._known = {tail.segment for tail in self.followed.open_files()}

    def close(self) -> None:
        """Publish, write the last checkpoint and close the files."""
        self.publish()
        self.checkpoint()
        self.followed.close()


def _today() -> str:
    return clock.now().strftime("%Y-%m-%d")


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Art32Error(
            Code.PERMISSION if isinstance(error, PermissionError) else Code.DISK,
            f"the checkpoint `{path}` cannot be written: {error.strerror}",
            hint="the directory must be on a healthy disk and belong to the user who runs art32",
        ) from error


def run(
    settings: Scan,
    watch: Watch,
    *,
    stop: threading.Event,
    scrub: Callable[[bytes], bytes] | None = None,
    once: bool = False,
    told: Told | None = None,
) -> Watcher:
    """Follow until `stop` is set, or with `once` until the present end of every file; `told` hears
    of new attacks.

    Raise LOCKED when another run follows with the same directory.
    """
    from agent.logs.watch.events import Events

    manager = Manager()
    with files.lock(settings.directory / _LOCK, what="`art32 logs watch`"):
        watcher = Watcher(settings, watch, scrub=scrub, told=told)
        with Events([one.path.parent for one in watch.files], stop) as events:
            manager.tell("READY=1")
            while not stop.is_set():
                more = watcher.step(look=events.something_came())
                manager.reassure()
                manager.status(_status(watcher, busy=more))
                if once and not more:
                    break
                if not more:
                    events.wait(_TICK)
        manager.tell("STOPPING=1")
        watcher.close()
        return watcher


def _status(watcher: Watcher, *, busy: bool) -> str:
    count = len(watcher.followed.current) + len(watcher.followed.renamed)
    missed = len(watcher.followed.missed)
    doing = "catching up with" if busy else "following"
    return f"{doing} {count} files" + (f", {missed} are not looked at" if missed else "")


def scanned_up_to(settings: Scan, path: Path, *, patience: float = 15.0) -> int:
    """Return how far into a file `art32 logs watch` has looked: what follows nobody has scanned.

    While a watch is running that has not yet come to the file's end, wait for it up to `patience`
    seconds. 0 when it is not watched.
    """
    limit = clock.monotonic() + patience
    while True:
        offset, size = _offset(settings, path)
        if offset >= size or not _is_running(settings) or clock.monotonic() >= limit:
            return offset
        clock.sleep(0.2)


def _offset(settings: Scan, path: Path) -> tuple[int, int]:
    try:
        tail = Tail.open(path, "auto")
    except (FileNotFoundError, NotFollowed):
        return 0, 0
    try:
        size = os.fstat(tail.descriptor).st_size
        state = json.loads((settings.directory / _STATE).read_bytes())
        if any(tail.resume(one) for one in state["tails"]):
            return tail.offset, size
    except (OSError, ValueError, KeyError, TypeError):
        pass
    finally:
        tail.close()
    return 0, 0


def _is_running(settings: Scan) -> bool:
    try:
        with files.lock(settings.directory / _LOCK, what="`art32 logs watch`"):
            return False
    except Art32Error as error:
        return error.code is Code.LOCKED
