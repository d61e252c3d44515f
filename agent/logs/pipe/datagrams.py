"""Datagrams: UDP on the loopback, whose drops the kernel counts, and Unix, where it counts none."""

from __future__ import annotations

import contextlib
import socket

from agent.logs.pipe import sockets
from agent.logs.pipe.lines import CUT_MARK, LONGEST, cut
from agent.logs.pipe.sockets import Entrance
from agent.logs.pipe.sources import BLOCK, Received, Watch
from agent.logs.pipe.syslog import one_line

_DISCARD_PORT = 9


class Datagrams:
    """A UDP or Unix datagram socket. The kernel counts what UDP drops, and nothing for Unix."""

    until_end = False
    again = None

    def __init__(self, entrance: Entrance) -> None:
        assert entrance.socket is not None
        self._socket = entrance.socket
        self._passed = entrance.passed
        self._stopping = False
        self._left: int | None = None  # bytes to take before the end, if others hold the socket
        self.finished = False
        self.cut = 0
        self._buffer = bytearray(BLOCK + LONGEST + len(CUT_MARK) + 1)
        self._view = memoryview(self._buffer)

    def begin(self, watch: Watch) -> None:
        watch.add(self._socket.fileno())

    def receive(self, descriptor: int, hung_up: bool) -> Received:
        buffer, view, receive = self._buffer, self._view, self._socket.recv_into
        flag = socket.MSG_TRUNC
        offset, ends = 0, []
        try:
            while offset < BLOCK:
                length = receive(view[offset : offset + LONGEST], 0, flag)
                if length > LONGEST:
                    length = self._shorten(offset)
                offset += length
                if not length or buffer[offset - 1] != 10:
                    buffer[offset] = 10
                    offset += 1
                ends.append(offset)
        except BlockingIOError:
            self.finished = self._stopping
        if self._left is not None:
            self._left -= offset
            self.finished = self.finished or self._left <= 0
        block = bytes(view[:offset])
        if block.count(b"\n") != len(ends):
            starts = [0, *ends]
            block = b"".join(
                one_line(block[start : end - 1]) + b"\n"
                for start, end in zip(starts, ends, strict=False)
            )
        return Received(block, more=self._stopping and not self.finished)

    def _shorten(self, offset: int) -> int:
        self.cut += 1
        line = cut(bytes(self._view[offset : offset + LONGEST]))
        self._view[offset : offset + len(line)] = line
        return len(line)

    def written(self) -> None:
        """Datagrams cannot be read twice: nothing to do."""

    def stop(self, *, now: bool) -> None:
        """Let nothing new in: a sender is refused from now on. What is queued is still read.

        A socket that systemd holds goes on queueing, for the next process.
        """
        self._stopping = True
        if self._passed:
            queue = self.queue()
            self._left = queue.used if queue is not None else BLOCK
            return
        with contextlib.suppress(OSError):
            if self._socket.family == socket.AF_UNIX:
                self._socket.shutdown(socket.SHUT_RD)
            else:  # a connected socket takes datagrams of its peer only
                self._socket.connect((self._socket.getsockname()[0], _DISCARD_PORT))

    def queue(self) -> sockets.Queue | None:
        return None if self._socket.family == socket.AF_UNIX else sockets.queue(self._socket)
