"""The loop: all flows in one thread, asleep while nothing comes.

SIGTERM and SIGINT end it when everything taken is written, SIGHUP reopens the files, SIGUSR1
reports.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from agent import clock, files
from agent.errors import Art32Error
from agent.logs.pipe.flow import Flow
from agent.notify import Manager

_TICK = 10.0
_RETRY = 1.0
_DRAIN = 10.0  # seconds for what is queued, when a sender does not stop sending
_LAST_RETRY = 5.0
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15
NAME = b"art32-pipe"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def prepare_process() -> None:
    """Give the process its name, and let no core dump of it be written: it holds raw lines."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    library = ctypes.CDLL(None)
    library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    library.prctl(_PR_SET_NAME, NAME, 0, 0, 0)


class _Gate:
    """What one flow watches: descriptors in the loop's epoll."""

    def __init__(self, loop: Loop, flow: Flow) -> None:
        self._loop = loop
        self._flow = flow
        self.descriptors: set[int] = set()

    def add(self, descriptor: int, *, edge: bool = False) -> None:
        self._loop.add(descriptor, self._flow, edge=edge)
        self.descriptors.add(descriptor)

    def remove(self, descriptor: int) -> None:
        self.descriptors.discard(descriptor)
        self._loop.remove(descriptor)

    def close(self) -> None:
        for descriptor in list(self.descriptors):
            self.remove(descriptor)


class Loop:
    """Runs flows until a signal, or until all of them have come to their end."""

    def __init__(
        self, flows: Sequence[Flow], *, state: Path | None, process_file: str | None = None
    ) -> None:
        """`state` is the directory for what health reads, one JSON file a flow; `process_file` is
        what a file in it with the id of this process is called."""
        self._flows = list(flows)
        self._state = state
        self._process_file = process_file
        self._epoll = select.epoll()
        self._owners: dict[int, Flow] = {}
        self._ready: dict[int, bool] = {}  # descriptor to ask again: whether its writers are gone
        self._later: dict[int, float] = {}  # descriptor to ask again: when
        self._always: set[int] = set()  # regular files, which no epoll takes
        self._gates = {id(flow): _Gate(self, flow) for flow in flows}
        self._stops = 0
        self._stop_before = 0.0
        self._next_tick: float | None = None
        self._manager = Manager()
        self._started = clock.iso(clock.now())

    def add(self, descriptor: int, flow: Flow, *, edge: bool) -> None:
        self._owners[descriptor] = flow
        try:
            self._epoll.register(descriptor, select.EPOLLIN | (select.EPOLLET if edge else 0))
        except PermissionError:
            self._always.add(descriptor)

    def remove(self, descriptor: int) -> None:
        self._ready.pop(descriptor, None)
        self._later.pop(descriptor, None)
        if self._owners.pop(descriptor, None) is None:
            return
        if descriptor in self._always:
            self._always.discard(descriptor)
        else:
            self._epoll.unregister(descriptor)

    def run(self) -> None:
        """Serve until the end; afterwards every flow's counts are final."""
        waker, wakened = socket.socketpair()
        with waker, wakened, _signals_to(waker):
            wakened.setblocking(False)
            self._epoll.register(wakened.fileno(), select.EPOLLIN)
            try:
                for flow in self._flows:
                    flow.begin(self._gates[id(flow)])
                self._leave_process_id()
                self._manager.tell("READY=1", f"STATUS={len(self._flows)} pipes")
                while not self._over():
                    self._turn(wakened)
                self._manager.tell("STOPPING=1")
            finally:
                for flow in self._flows:
                    flow.end()
                self._save()
                self._epoll.close()

    def _over(self) -> bool:
        if all(flow.finished for flow in self._flows):
            return True
        return bool(self._stop_before) and clock.monotonic() > self._stop_before

    def _turn(self, wakened: socket.socket) -> None:
        events = self._epoll.poll(self._patience())
        turns = dict(self._ready)
        self._ready.clear()
        turns.update(dict.fromkeys(self._always, False))
        now = clock.monotonic() if self._later else 0
        for descriptor in [one for one, due in self._later.items() if due <= now]:
            turns.setdefault(descriptor, False)
        for descriptor, mask in events:
            if descriptor == wakened.fileno():
                self._obey(wakened.recv(64))
            else:
                turns[descriptor] = turns.get(descriptor, False) or bool(mask & select.EPOLLHUP)
        for descriptor, hung_up in turns.items():
            flow = self._owners.get(descriptor)
            if flow is None:
                continue
            if flow.stalled_since is not None:
                self._gates[id(flow)].close()
                continue
            self._later.pop(descriptor, None)
            if flow.receive(descriptor, hung_up) and descriptor in self._owners:
                self._ready[descriptor] = hung_up
            elif flow.source.again is not None:
                self._later[descriptor] = clock.monotonic() + flow.source.again
            self._look_after(flow)
        self._tick()

    def _look_after(self, flow: Flow) -> None:
        """Take a flow out of the loop while its output takes nothing, or for good."""
        if flow.stalled_since is not None or flow.finished:
            self._gates[id(flow)].close()
        if flow.changed and self._next_tick is None:
            self._next_tick = clock.monotonic() + _TICK

    def _patience(self) -> float | None:
        """Return how long to sleep: for ever when there is nothing to look after."""
        if self._ready or self._always:
            return 0
        ends = [end for end in (self._next_tick, self._stop_before or None) if end is not None]
        waits = [end - clock.monotonic() for end in (*ends, *self._later.values())]
        if any(flow.stalled_since is not None for flow in self._flows):
            waits.append(_RETRY)
        if self._manager.watchdog is not None:
            waits.append(self._manager.due - clock.monotonic())
        return max(0, min(waits)) if waits else None

    def _tick(self) -> None:
        for flow in self._flows:
            if flow.may_retry(_RETRY) and flow.flush() and not flow.finished:
                flow.source.begin(self._gates[id(flow)])
                if self._stops:
                    self._ask_again(flow)
        self._manager.reassure()
        if self._next_tick is not None and clock.monotonic() >= self._next_tick:
            self._next_tick = None
            self._save()

    def _obey(self, signals: bytes) -> None:
        for number in signals:
            if number == signal.SIGHUP:
                for flow in self._flows:
                    flow.reopen()
            elif number == signal.SIGUSR1:
                self._save()
                for flow in self._flows:
                    flow.say(flow.summary())
            else:
                self._stop()

    def _stop(self) -> None:
        self._stops += 1
        stalled = any(flow.stalled_since is not None for flow in self._flows)
        for flow in self._flows:
            flow.source.stop(now=self._stops > 1)
            self._ask_again(flow)
        if stalled or self._stops > 1 or not all(flow.source.until_end for flow in self._flows):
            self._stop_before = clock.monotonic() + (_LAST_RETRY if stalled else _DRAIN)

    def _ask_again(self, flow: Flow) -> None:
        """Have every descriptor of a flow looked at once: epoll is silent about an empty one."""
        for descriptor in self._gates[id(flow)].descriptors:
            self._ready.setdefault(descriptor, False)

    def _leave_process_id(self) -> None:
        """Write it for whoever has to send SIGHUP after a rotation."""
        if self._state is None:
            return
        with contextlib.suppress(OSError, Art32Error):
            files.make_directory(self._state)
            if self._process_file is not None:
                file = self._state / self._process_file
                files.replace(file, b"%d\n" % os.getpid(), mode=0o644)

    def _save(self) -> None:
        """Write each flow's counts for health; a full disk is no reason to stop."""
        for flow in self._flows:
            flow.update()
            flow.changed = False
            if self._state is None:
                continue
            document = {
                "schema": "art32.pipe/1",
                "process": os.getpid(),
                "started": self._started,
                "updated": clock.iso(clock.now()),
                **flow.data(),
            }
            with contextlib.suppress(OSError, Art32Error):
                files.replace(self._state / f"{flow.name}.json", json.dumps(document).encode())


@contextlib.contextmanager
def _signals_to(waker: socket.socket) -> Iterator[None]:
    """Have the loop's signals wake it as bytes instead of interrupting what it does."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """The number arrives through the socket."""

    waker.setblocking(False)
    before = {number: signal.signal(number, ignore) for number in _SIGNALS}
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
