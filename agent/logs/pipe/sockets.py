"""Opens where lines come in: sockets and FIFOs of our own, or those that systemd passes.

A socket that systemd holds (sd_listen_fds(3)) outlives this process, and so does what is queued.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from agent import notify
from agent.config.logs_pipe import Endpoint, LogPipe
from agent.errors import Art32Error, Code

_SO_MEMINFO = 55
_SO_RCVBUFFORCE = 33
_MEMINFO = struct.Struct("9I")  # linux/sock_diag.h: SK_MEMINFO_RMEM_ALLOC, _RCVBUF, ..., _DROPS
PIPE_BYTES = 1 << 20
_BACKLOG = 64


@dataclass(frozen=True)
class Queue:
    """A datagram socket's queue: bytes used and allowed, datagrams dropped since it was made."""

    used: int
    size: int
    dropped: int


def queue(opened: socket.socket) -> Queue:
    """Return the kernel's own figures (socket(7), SO_MEMINFO; Linux 4.12).

    SO_RXQ_OVFL tells the same counter, but only along with a datagram that came through.
    """
    values = _MEMINFO.unpack(opened.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
    return Queue(values[0], values[1], values[8])


def enlarge(opened: socket.socket, size: int) -> int:
    """Ask for a receive buffer and return the size in effect, in bytes of payload and overhead.

    Beyond `net.core.rmem_max` this takes CAP_NET_ADMIN. The kernel doubles what it is told.
    """
    try:
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


@dataclass(frozen=True)
class Entrance:
    """An open endpoint: a socket, or the descriptor of a FIFO; `passed` when systemd holds it."""

    socket: socket.socket | None
    descriptor: int
    passed: bool


class Passed:
    """The descriptors that systemd passes; taken from the environment once."""

    def __init__(self) -> None:
        self.descriptors = notify.passed_descriptors()

    def take(self, endpoint: Endpoint) -> int | None:
        """Return the descriptor that belongs to an endpoint, None when none does."""
        for descriptor in self.descriptors:
            if _is(descriptor, endpoint):
                self.descriptors.remove(descriptor)
                return descriptor
        return None


def _is(descriptor: int, endpoint: Endpoint) -> bool:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode):
        return endpoint.kind == "fifo" and _same(descriptor, endpoint.path)
    if not stat.S_ISSOCK(mode) or endpoint.kind == "fifo":
        return False
    with socket.socket(fileno=os.dup(descriptor)) as opened:
        name = opened.getsockname()
        stream = opened.type == socket.SOCK_STREAM
    if endpoint.kind == "udp":
        return not stream and isinstance(name, tuple) and name[:2] == (endpoint.host, endpoint.port)
    return name == str(endpoint.path) and stream == (endpoint.kind == "unix-stream")


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def open_entrance(pipe: LogPipe, passed: Passed) -> Entrance:
    """Return a pipe's endpoint, open and not blocking.

    Raise LOCKED when another process listens there, PERMISSION when it may not be made,
    TARGET_EXISTS when something else stands in its place.
    """
    endpoint = pipe.endpoint
    descriptor = passed.take(endpoint)
    try:
        if endpoint.kind == "fifo":
            return _fifo(pipe, endpoint.path, descriptor)
        if descriptor is not None:
            opened = socket.socket(fileno=descriptor)
            opened.setblocking(False)
            return Entrance(opened, descriptor, passed=True)
        opened = _udp(pipe, endpoint) if endpoint.kind == "udp" else _unix(pipe, endpoint)
    except OSError as error:
        raise _refused(endpoint, error) from error
    opened.setblocking(False)
    return Entrance(opened, opened.fileno(), passed=False)


def _refused(endpoint: Endpoint, error: OSError) -> Art32Error:
    if error.errno == errno.EADDRINUSE:
        return Art32Error(
            Code.LOCKED,
            f"another process listens on `{endpoint}`",
            hint="one `art32 logs pipe` serves all pipes of the configuration: "
            "systemctl status art32-pipe",
        )
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return Art32Error(
        Code.PERMISSION if denied else Code.SOURCE_MISSING,
        f"`{endpoint}` cannot be opened: {(error.strerror or 'error').lower()}",
        hint="the directory must exist and belong to the user who runs art32"
        if endpoint.kind != "udp"
        else None,
    )


def _udp(pipe: LogPipe, endpoint: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        enlarge(opened, pipe.receive_buffer)
        opened.bind((endpoint.host, endpoint.port))
    except BaseException:
        opened.close()
        raise
    return opened


def _unix(pipe: LogPipe, endpoint: Endpoint) -> socket.socket:
    stream = endpoint.kind == "unix-stream"
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    try:
        _remove_stale(endpoint.path, opened.type)
        before = os.umask(0o777)  # nobody may connect until mode and group are right
        try:
            opened.bind(str(endpoint.path))
        finally:
            os.umask(before)
        _give(endpoint.path, pipe)
        if stream:
            opened.listen(_BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def _remove_stale(path: Path, kind: int) -> None:
    """Remove a socket that nobody listens on; raise EADDRINUSE when somebody does."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Art32Error(
            Code.TARGET_EXISTS,
            f"`{path}` is there and is no socket",
            hint="art32 would have to replace it: choose another path, or remove it yourself",
        )
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def _give(path: Path, pipe: LogPipe) -> None:
    """Set mode and group of what has just been made."""
    if pipe.socket_group is not None:
        try:
            group = grp.getgrnam(pipe.socket_group).gr_gid
        except KeyError:
            raise Art32Error(
                Code.CONFIG_INVALID,
                f"there is no group `{pipe.socket_group}`",
                hint=f"`socket_group` of the pipe `{pipe.name}`",
            ) from None
        os.chown(path, -1, group, follow_symlinks=False)
    path.chmod(int(pipe.socket_mode, 8))


def _fifo(pipe: LogPipe, path: Path, descriptor: int | None) -> Entrance:
    passed = descriptor is not None
    if descriptor is None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
            _give(path, pipe)
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _no_fifo(path) from error
            raise
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _no_fifo(path)
        # without a reader's end that stays open a writer would get SIGPIPE; two readers would
        # tear lines apart
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise OSError(errno.EADDRINUSE, "in use") from error
    os.set_blocking(descriptor, False)
    widen(descriptor)
    return Entrance(None, descriptor, passed)


def _no_fifo(path: Path) -> Art32Error:
    return Art32Error(
        Code.TARGET_EXISTS,
        f"`{path}` is there and is no FIFO",
        hint="if a daemon has written a log there it holds raw lines: stop the daemon, scrub or "
        "remove the file, start `art32 logs pipe`, then the daemon",
    )


def widen(descriptor: int) -> None:
    """Give a pipe a mebibyte, so that its writer seldom waits (pipe(7)); harmless when refused."""
    with contextlib.suppress(OSError):
        if fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) < PIPE_BYTES:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def remove(entrance: Entrance, endpoint: Endpoint) -> None:
    """Close an endpoint and remove the name of a socket of our own."""
    if entrance.socket is not None:
        entrance.socket.close()
        if endpoint.kind != "udp" and not entrance.passed:
            with contextlib.suppress(OSError):
                endpoint.path.unlink()
    else:
        os.close(entrance.descriptor)
