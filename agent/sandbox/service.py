"""Starts confined programs for a process that may not make their rooms itself.

What holds the private key and reaches the store must not be what can mount and make namespaces; so
a drill is two units, and this is the other one: it has those rights, and neither network nor key.
It runs nothing but confined programs, as one user without rights, in one directory.

A request is a message on a SOCK_SEQPACKET socket with three descriptors, the standard streams:

    {"argv": [...], "writable": PATH or null, "sockets": [...], "readable": [...],
     "capabilities": [...]}

The answer is the exit status as JSON, negative for a signal, or a sentence that says why not. A
connection that ends before ends the program.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import clock, run, sandbox
from agent.errors import Art32Error, Code
from agent.notify import Manager

_CREDENTIALS = struct.Struct("3i")
_MOST_BYTES = 128 << 10
_PATIENCE = 30.0
_TURN = 10.0
#: What a restored tree needs to get back its owners and modes (`_directory_restore`).
_CAPABILITIES = frozenset({"chown", "fowner", "fsetid", "setfcap", "dac_override"})
_SYSTEM = (Path("/usr"), Path("/opt"))


@dataclass(frozen=True)
class Request:
    """What is to run. Paths are absolute; those of `writable`, `sockets` and `readable` lie in the
    service's directory or, only to be read, under /usr and /opt."""

    argv: tuple[str, ...]
    writable: Path | None
    sockets: tuple[Path, ...]
    readable: tuple[Path, ...]
    capabilities: tuple[str, ...]


class Service:
    """Answers on a listening socket, each connection in a thread of its own."""

    def __init__(self, listener: socket.socket, *, user: str, directory: Path, client: int) -> None:
        """`user` runs the programs, `directory` is where their data lies, `client` may ask."""
        self._listener = listener
        self._user = user
        self._directory = directory.resolve()
        self._client = client
        self._guard = threading.Lock()
        self._running = 0
        self._last = clock.monotonic()

    def run(self, manager: Manager, *, idle_seconds: float) -> None:
        """Serve until nothing has run for so long; systemd starts it again when it is needed."""
        self._listener.setblocking(False)
        poll = select.poll()
        poll.register(self._listener.fileno(), select.POLLIN)
        turn = min(_TURN, idle_seconds, manager.watchdog or _TURN)
        manager.tell("READY=1")
        while self._wanted(idle_seconds):
            manager.status(f"{self._running} programs run")
            if not poll.poll(1000 * turn):
                manager.reassure()
                continue
            manager.reassure()
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                connection, _ = self._listener.accept()
                with self._guard:
                    self._running += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        manager.tell("STOPPING=1")

    def _wanted(self, idle_seconds: float) -> bool:
        with self._guard:
            return self._running > 0 or clock.monotonic() - self._last < idle_seconds

    def _serve(self, connection: socket.socket) -> None:
        streams: list[int] = []
        try:
            with connection:
                connection.settimeout(_PATIENCE)
                with contextlib.suppress(OSError):
                    connection.send(json.dumps(self._answer(connection, streams)).encode())
        finally:
            for descriptor in streams:
                os.close(descriptor)
            with self._guard:
                self._running -= 1
                self._last = clock.monotonic()

    def _answer(self, connection: socket.socket, streams: list[int]) -> int | str:
        try:
            message, descriptors, flags, _ = socket.recv_fds(
                connection, _MOST_BYTES, 4, socket.MSG_CMSG_CLOEXEC
            )
            streams += descriptors
            packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            if _CREDENTIALS.unpack(packed)[1] != self._client:
                raise _refused("another user asks")
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or len(streams) != 3:
                raise _refused("the request is too long or has no streams")
            return self._run(parse(message, self._directory), connection, streams)
        except Art32Error as error:
            return error.sentence

    def _run(self, request: Request, connection: socket.socket, streams: list[int]) -> int:
        argv = sandbox.confined(
            request.argv,
            user=self._user,
            writable=request.writable,
            sockets=request.sockets,
            readable=request.readable,
            capabilities=request.capabilities,
        )
        errors = os.fdopen(os.dup(streams[2]), "wb", buffering=0)

        def told(chunk: bytes) -> None:
            with contextlib.suppress(OSError):
                errors.write(chunk)

        with (
            errors,
            os.fdopen(os.dup(streams[0]), "rb", buffering=0) as given,
            os.fdopen(os.dup(streams[1]), "wb", buffering=0) as taken,
            run.Process(argv, stdin=given, stdout=taken, on_stderr=told) as process,
        ):
            # the ends that the program has must be the only ones: it alone closes them
            given.close()
            taken.close()
            while streams:
                os.close(streams.pop())
            _wait(process, connection)
            if process.ended:
                return process.wait()
            process.kill()
            return process.wait()


def _wait(process: run.Process, connection: socket.socket) -> None:
    """Wait until the program ends or whoever asked has gone."""
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(connection.fileno(), select.POLLIN | select.POLLRDHUP)
        poll.poll()
    finally:
        os.close(ended)


def parse(message: bytes, directory: Path) -> Request:
    """Return what a message asks for; raise PERMISSION for what is not to be had here."""
    try:
        document: dict[str, Any] = json.loads(message)
        argv = tuple(map(str, document["argv"]))
        writable = document["writable"]
        request = Request(
            argv,
            None if writable is None else _below(str(writable), directory),
            tuple(_below(str(one), directory) for one in document["sockets"]),
            tuple(_below(str(one), directory, *_SYSTEM) for one in document["readable"]),
            tuple(map(str, document["capabilities"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _refused("that is no request") from error
    if not argv or not set(request.capabilities) <= _CAPABILITIES:
        raise _refused("it wants what no engine needs")
    return request


def _below(text: str, *places: Path) -> Path:
    """Return a path in one of the places that has no link in it: what is restored may be one."""
    path = Path(text)
    inside = any(path != place and path.is_relative_to(place) for place in places)
    if not path.is_absolute() or not inside or path.resolve() != path:
        raise _refused("a path lies outside of `drill.directory`, or has a link in it")
    return path


def _refused(why: str) -> Art32Error:
    return Art32Error(Code.PERMISSION, f"no engine is started: {why}")
