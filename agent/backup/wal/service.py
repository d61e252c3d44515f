"""The service behind the socket: holds keys and the right to the store, and answers PostgreSQL.

Who asks is known by the kernel's word (SO_PEERCRED of unix(7)). Files come as open descriptors, so
that it needs no right to PostgreSQL's directories, and what it brings back goes as one.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence

from agent.backup.wal import names
from agent.backup.wal.fetch import Fetcher
from agent.backup.wal.opening import Opened
from agent.backup.wal.place import Place
from agent.backup.wal.push import Shipper
from agent.errors import Art32Error, Code, ExitStatus, from_defect
from agent.notify import Manager
from agent.wal import protocol

_CREDENTIALS = struct.Struct("3i")
_CONTROL = struct.Struct(
    "=Q"
)  # pg_control begins with the system identifier (catalog/pg_control.h)
_CONNECTIONS = 64
_PATIENCE = 30.0  # for a client that has connected to say what it wants
_LARGEST_STATUS = 125


class Service:
    """Answers on a listening socket, each connection in a thread of its own."""

    def __init__(
        self,
        listener: socket.socket,
        users: Iterable[int],
        *,
        host: str,
        shipper: Shipper | None = None,
        fetcher: Callable[[], Fetcher] | None = None,
    ) -> None:
        """`users` are the numbers of those who may ask. Without a shipper it pushes nothing,
        without a fetcher, which is asked for when there is something to fetch, it fetches nothing.
        """
        self._listener = listener
        self._users = frozenset(users)
        self._host = host
        self._shipper = shipper
        self._fetcher = fetcher
        self._guard = threading.Lock()
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)

    def run(self, stop: int, manager: Manager | None = None) -> None:
        """Serve until the descriptor `stop` can be read; tell a service manager meanwhile."""
        manager = manager or Manager()
        self._listener.setblocking(False)
        poll = select.poll()
        poll.register(self._listener.fileno(), select.POLLIN)
        poll.register(stop, select.POLLIN)
        patience = None if manager.watchdog is None else int(1000 * manager.watchdog)
        manager.tell("READY=1")
        while all(descriptor != stop for descriptor, _ in poll.poll(patience)):
            manager.reassure()
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                connection, _ = self._listener.accept()
                self._slots.acquire()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        manager.tell("STOPPING=1")

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE)
                answer, content = self._answer(connection)
                sent = [] if content is None else [content.content.as_input()]
                socket.send_fds(connection, [answer], sent)
        finally:
            self._slots.release()

    def _answer(self, connection: socket.socket) -> tuple[bytes, Opened | None]:
        """Return what to say and the file to send along; raise OSError when nobody listens."""
        descriptors: list[int] = []
        try:
            message, descriptors, flags, _ = socket.recv_fds(
                connection, protocol.MESSAGE_BYTES, protocol.AHEAD + 2, socket.MSG_CMSG_CLOEXEC
            )
            self._require_user(connection)  # once it is read: else the answer would be lost
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise _no_request()
            verb, *wanted = protocol.decode(message)
            return self._obey(verb, wanted, descriptors)
        except Art32Error as error:
            return _failed(error), None
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            return _failed(from_defect(error)), None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _require_user(self, connection: socket.socket) -> None:
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(packed)
        if user not in self._users:
            raise Art32Error(
                Code.PERMISSION,
                f"the user with the number {user} may not ask for this",
                hint="name the server's user in `wal.clients`, and restart the service",
            )

    def _obey(
        self, verb: str, wanted: Sequence[str], descriptors: Sequence[int]
    ) -> tuple[bytes, Opened | None]:
        if verb == protocol.PUSH and wanted and len(descriptors) == len(wanted) + 1:
            self._push(wanted, descriptors)
            return protocol.encode(protocol.OK), None
        if verb == protocol.FETCH and len(wanted) == len(descriptors) == 1:
            found = self._fetch(names.require(wanted[0]), _system_id(descriptors[0]))
            return protocol.encode(protocol.ABSENT if found is None else protocol.OK), found
        if verb == protocol.HELLO and not wanted and not descriptors:
            return protocol.encode(protocol.OK), None
        raise _no_request()

    def _push(self, wanted: Sequence[str], descriptors: Sequence[int]) -> None:
        if self._shipper is None:
            raise Art32Error(
                Code.CONFIG_INVALID,
                "this service archives nothing: it has no `encryption` and `signing`",
                hint="archive_command belongs to the host, restore_command to the restorer",
            )
        system_id = _system_id(descriptors[0])
        first = Place(self._host, system_id, names.require(wanted[0]))
        more = [
            (Place(self._host, system_id, name), descriptor)
            for text, descriptor in zip(wanted[1:], descriptors[2:], strict=True)
            if (name := names.parse(text)) is not None
        ]
        self._shipper.ship(first, descriptors[1], more)

    def _fetch(self, name: names.Name, system_id: int) -> Opened | None:
        if self._fetcher is None:
            raise Art32Error(
                Code.CONFIG_INVALID,
                "this service brings nothing back",
                hint="restore_command belongs to the restorer, archive_command to the host",
            )
        with self._guard:
            fetcher = self._fetcher()
        return fetcher.fetch(system_id, name)


def _system_id(control: int) -> int:
    """Return the system identifier in an open pg_control; raise SOURCE_INCOMPLETE without one."""
    head = os.pread(control, _CONTROL.size, 0)
    system_id = int(_CONTROL.unpack(head)[0]) if len(head) == _CONTROL.size else 0
    if not system_id:
        raise Art32Error(
            Code.SOURCE_INCOMPLETE,
            "`global/pg_control` is empty",
            hint="PostgreSQL runs its commands in the data directory",
        )
    return system_id


def _failed(error: Art32Error) -> bytes:
    status = int(error.exit_status)
    if not 1 <= status <= _LARGEST_STATUS:
        status = int(ExitStatus.DEFECT)
    return protocol.encode(
        protocol.FAILED, str(status), error.sentence, error.hint or "", error.runbook or ""
    )


def _no_request() -> Art32Error:
    return Art32Error(
        Code.USAGE,
        "this is no request of `art32 wal`",
        hint="are both ends of the socket of the same version? restart the service",
    )
