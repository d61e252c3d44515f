"""The ways out: a file, or journald. What they are offered is scrubbed.

`offer` takes a block and `flush` writes what is left of it; `flush` raises OSError when that is
not possible now, and goes on where it was when it is called again.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from agent.errors import Art32Error, Code
from agent.logs.pipe.syslog import Head

MODE = 0o640
_PATIENCE = 1.0  # seconds for a journald that is slow, before other pipes have their turn


class Output(Protocol):
    """One way out; `name` is what messages call it."""

    name: str
    wants_heads: bool

    def offer(self, block: bytes, heads: Sequence[Head] | None) -> None: ...

    def flush(self) -> None: ...

    @property
    def pending(self) -> int: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...


class File:
    """Appends to a regular file of mode 0640, never through a symbolic link.

    Several processes may append to one file: each write is of whole lines and goes to the end.
    """

    wants_heads = False

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self.name = str(path)
        self._path = path
        self._fsync = fsync
        self._block = b""
        self._done = 0
        self._descriptor = self._open()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            try:
                descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, MODE)
                os.fchmod(descriptor, MODE)
            except FileExistsError:
                descriptor = os.open(self._path, flags)
        except OSError as error:
            raise _unopenable(self._path, error) from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise _unsafe(self._path)
        if found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
            # a killed predecessor left half a line: the next one must not continue it
            self._torn = True
        else:
            self._torn = False
        return descriptor

    def offer(self, block: bytes, heads: Sequence[Head] | None) -> None:
        assert not self.pending
        self._block = b"\n" + block if self._torn else block
        self._done = 0
        self._torn = False

    @property
    def pending(self) -> int:
        """How many lines are not yet written."""
        return self._block.count(b"\n", self._done)

    def flush(self) -> None:
        view = memoryview(self._block)
        while self._done < len(view):
            self._done += os.write(self._descriptor, view[self._done :])
        if self._fsync and self._block:
            os.fdatasync(self._descriptor)
        self._block, self._done = b"", 0

    def reopen(self) -> None:
        """Go on in the file that has the name now. What of a block is in the old one stays there,
        a line that is there in part comes again as a whole; on an error the old file is kept."""
        old = self._descriptor
        self._descriptor = self._open()
        if self._done:
            self._done = self._block.rfind(b"\n", 0, self._done) + 1
        try:
            os.fdatasync(old)
        finally:
            os.close(old)

    def close(self) -> None:
        try:
            os.fdatasync(self._descriptor)
        finally:
            os.close(self._descriptor)


def _unopenable(path: Path, error: OSError) -> Art32Error:
    if error.errno == errno.ELOOP:
        return _unsafe(path)
    if error.errno in (errno.ENXIO, errno.EISDIR):
        return _unsafe(path)
    denied = error.errno in (errno.EACCES, errno.EPERM)
    return Art32Error(
        Code.PERMISSION if denied else Code.DISK,
        f"`{path}` cannot be opened: {(error.strerror or 'error').lower()}",
        hint=f"`{path.parent}` must exist and belong to the user who runs art32",
    )


def _unsafe(path: Path) -> Art32Error:
    return Art32Error(
        Code.PERMISSION,
        f"`{path}` is no ordinary file of one name: a symbolic or hard link, a device or a FIFO",
        hint="a log is not written through a link, which could lead anywhere; remove it",
    )


class Journal:
    """Sends to journald, one datagram a record (systemd's native journal protocol)."""

    wants_heads = True

    def __init__(self, namespace: str, program: str) -> None:
        self.name = f"journald:{namespace}" if namespace else "journald"
        directory = f"/run/systemd/journal.{namespace}" if namespace else "/run/systemd/journal"
        self._address = f"{directory}/socket"
        self._program = program.encode()
        self._records: list[bytes] = []
        self._done = 0
        self._socket = self._connect()

    def _connect(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        opened.settimeout(_PATIENCE)
        try:
            opened.connect(self._address)
        except OSError as error:
            opened.close()
            raise Art32Error(
                Code.TARGET_FAILED,
                f"`{self.name}` does not listen: {(error.strerror or 'error').lower()}",
                hint="systemctl status systemd-journald.socket",
            ) from error
        return opened

    def offer(self, block: bytes, heads: Sequence[Head] | None) -> None:
        assert not self.pending
        lines = block.split(b"\n")[:-1]
        heads = heads or [Head(14, b"", b"")] * len(lines)
        self._records = [self._record(line, head) for line, head in zip(lines, heads, strict=True)]
        self._done = 0

    def _record(self, line: bytes, head: Head) -> bytes:
        fields = [
            b"MESSAGE\n" + len(line).to_bytes(8, "little") + line,
            b"PRIORITY=%d" % (head.priority & 7),
            b"SYSLOG_FACILITY=%d" % (head.priority >> 3),
            b"SYSLOG_IDENTIFIER=" + (head.program or self._program),
        ]
        if head.process.isdigit():
            fields.append(b"SYSLOG_PID=" + head.process)
        return b"\n".join(fields) + b"\n"

    @property
    def pending(self) -> int:
        return len(self._records) - self._done

    def flush(self) -> None:
        while self._done < len(self._records):
            try:
                self._socket.send(self._records[self._done])
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
                self.reopen()  # journald was started anew
                self._socket.send(self._records[self._done])
            self._done += 1
        self._records, self._done = [], 0

    def reopen(self) -> None:
        try:
            opened = self._connect()
        except Art32Error as error:
            raise OSError(errno.ECONNREFUSED, "journald does not listen") from error
        self._socket.close()
        self._socket = opened

    def close(self) -> None:
        self._socket.close()


def open_output(to: str, *, fsync: bool, program: str) -> Output:
    """Return the output that a configuration's `to` names, open."""
    if to.startswith("/"):
        return File(Path(to), fsync=fsync)
    return Journal(to.partition(":")[2], program)
