"""Pipes and FIFOs, read so that a kill loses nothing; and whatever else standard input may be."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
import termios
from collections.abc import Callable

from agent.logs.pipe import sockets
from agent.logs.pipe.lines import Lines
from agent.logs.pipe.sources import BLOCK, Received, Watch

_SPLICE_F_NONBLOCK = 2
_KEPT_IN_THE_PIPE = 4096
_SOONEST, _LATEST = 0.005, 1.0


class Pipe:
    """The reading end of a pipe or FIFO, read with tee(2): first written, then taken out.

    A kill at any instant then loses nothing as long as somebody keeps the pipe: Apache does, and
    systemd does. The block that was under way is written twice.
    """

    def __init__(self, descriptor: int, *, until_end: bool) -> None:
        """`until_end`: a stop means to go on until the writers have gone."""
        self._descriptor = descriptor
        self.until_end = until_end
        self._left: int | None = None  # bytes to take before the end, once there is to be one
        self._lines = Lines()
        self._taken = 0
        self._copy_out, self._copy_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        sockets.widen(descriptor)
        sockets.widen(self._copy_in)
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._tee = _tee_function()
        self.again: float | None = None
        self.finished = False

    @property
    def cut(self) -> int:
        return self._lines.cut

    def begin(self, watch: Watch) -> None:
        watch.add(self._descriptor, edge=True)

    def receive(self, descriptor: int, hung_up: bool) -> Received:
        stopping = self._left is not None
        before, self.again = self.again, None
        data = self._look()
        if data is None:
            self.finished = stopping
            return Received(b"")
        if not data and not self.until_end:  # a FIFO waits for its next writer
            self.finished = stopping
            return Received(b"")
        if not data:
            self.finished = True
            return Received(self._lines.end())
        block = self._lines.feed(data)
        rest = len(self._lines.rest)
        if not rest or rest > min(len(data), _KEPT_IN_THE_PIPE):
            self._taken = len(data)
        else:  # the beginning of a line stays where a kill does not reach it
            self._taken = len(data) - rest
            self._lines.rest = b""
        if self._taken:
            if self._left is not None:  # what lies beyond stays for the next process
                self._left -= self._taken
                self.finished = self._left <= 0
            return Received(block, more=not self.finished)
        if hung_up and self.until_end:
            self._lines.rest = data
            self._taken, self.finished = len(data), True
            return Received(self._lines.end())
        self.finished = stopping
        # a writer that has filled the pipe from half a line on wakes nobody before it is done
        self.again = _SOONEST if before is None else min(2 * before, _LATEST)
        return Received(b"")

    def _look(self) -> bytes | None:
        """Return a copy of what the pipe holds; None when that is nothing, b"" at the end."""
        length = self._tee(self._descriptor, self._copy_in, BLOCK)
        if length <= 0:
            return None if length else b""
        pieces = []
        while length:
            pieces.append(os.read(self._copy_out, length))
            length -= len(pieces[-1])
        return b"".join(pieces)

    def written(self) -> None:
        while self._taken:
            self._taken -= os.splice(self._descriptor, self._nowhere, self._taken)

    def stop(self, *, now: bool) -> None:
        """End after what the pipe holds at this moment; a fast writer would never let it end."""
        if self._left is None and (now or not self.until_end):
            held = fcntl.ioctl(self._descriptor, termios.FIONREAD, bytes(4))
            self._left = int.from_bytes(held, sys.byteorder)

    def queue(self) -> sockets.Queue | None:
        return None


def _tee_function() -> Callable[[int, int, int], int]:
    """Return tee(2): bytes copied, 0 at the end, -1 when there are none yet."""
    library = ctypes.CDLL(None, use_errno=True)

    def tee(source: int, target: int, length: int) -> int:
        while True:
            done: int = library.tee(source, target, ctypes.c_size_t(length), _SPLICE_F_NONBLOCK)
            if done >= 0:
                return done
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                return -1
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    return tee


class Bytes:
    """Whatever else standard input may be: a file, a terminal, a socket."""

    until_end = False
    again = None

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines = Lines()
        self.finished = False

    @property
    def cut(self) -> int:
        return self._lines.cut

    def begin(self, watch: Watch) -> None:
        watch.add(self._descriptor)

    def receive(self, descriptor: int, hung_up: bool) -> Received:
        try:
            data = os.read(self._descriptor, BLOCK)
        except BlockingIOError:
            return Received(b"")
        if data:
            return Received(self._lines.feed(data))
        self.finished = True
        return Received(self._lines.end())

    def written(self) -> None:
        """What was read is gone: nothing to do."""

    def stop(self, *, now: bool) -> None:
        self.finished = True

    def queue(self) -> sockets.Queue | None:
        return None
