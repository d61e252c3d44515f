"""Connections to a Unix stream socket. Their senders wait while nothing is taken."""

from __future__ import annotations

import contextlib
import errno
import socket

from agent.logs.pipe import sockets
from agent.logs.pipe.sockets import Entrance
from agent.logs.pipe.sources import BLOCK, Received, Watch
from agent.logs.pipe.syslog import Frames

_MOST_CONNECTIONS = 256


class Connections:
    """A Unix stream socket and all who have connected to it. A sender that is too fast waits."""

    until_end = False
    again = None

    def __init__(self, entrance: Entrance) -> None:
        assert entrance.socket is not None
        self._listener = entrance.socket
        self._passed = entrance.passed
        self._open: dict[int, tuple[socket.socket, Frames]] = {}
        self._cut = 0
        self._watch: Watch
        self._stopping = self._full = False

    @property
    def finished(self) -> bool:
        return self._stopping and not self._open

    @property
    def cut(self) -> int:
        return self._cut + sum(frames.cut for _, frames in self._open.values())

    def begin(self, watch: Watch) -> None:
        self._watch = watch
        if not self._stopping and not self._full:
            watch.add(self._listener.fileno())
        for descriptor in self._open:
            watch.add(descriptor)

    def receive(self, descriptor: int, hung_up: bool) -> Received:
        if descriptor == self._listener.fileno():
            self._accept()
            return Received(b"")
        if descriptor not in self._open:
            return Received(b"")
        connection, frames = self._open[descriptor]
        try:
            data = connection.recv(BLOCK)
        except BlockingIOError:
            return Received(b"")
        except ConnectionResetError:
            data = b""
        if data:
            return Received(frames.feed(data))
        self._close(descriptor)
        return Received(frames.end())

    def _accept(self) -> None:
        while len(self._open) < _MOST_CONNECTIONS:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno == errno.EINVAL:  # shut down, and nobody is left in the backlog
                    return
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                break
            connection.setblocking(False)
            self._open[connection.fileno()] = connection, Frames()
            self._watch.add(connection.fileno())
        self._full = True  # others wait in the backlog until one has gone
        self._watch.remove(self._listener.fileno())

    def _close(self, descriptor: int) -> None:
        connection, frames = self._open.pop(descriptor)
        self._cut += frames.cut
        self._watch.remove(descriptor)
        connection.close()
        if self._full and not self._stopping:
            self._full = False
            self._watch.add(self._listener.fileno())

    def written(self) -> None:
        """A connection ends with this process: nothing to do."""

    def stop(self, *, now: bool) -> None:
        """Refuse further writes; what a writer has been told is written will still be read."""
        if self._stopping:
            return
        if not self._passed:  # whoever has connected already is still let in
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RD)
        if not self._full:
            if not self._passed:
                self._accept()
            with contextlib.suppress(KeyError):
                self._watch.remove(self._listener.fileno())
        self._stopping = True
        for connection, _ in self._open.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)

    def queue(self) -> sockets.Queue | None:
        return None
