"""The lease: refused while anybody may write, lost when somebody wants to."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from pathlib import Path

import pytest

from agent.errors import Art32Error, Code
from agent.logs.rotate import lease


def reading(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def test_a_lease_is_granted_when_the_last_writer_has_closed(tmp_path: Path) -> None:
    file = tmp_path / "log"
    first = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    second = os.dup(first)
    mine = reading(file)
    assert not lease.acquire(mine, "log")
    os.close(first)
    assert not lease.acquire(mine, "log")
    os.close(second)
    assert lease.acquire(mine, "log")
    assert lease.held(mine)
    os.close(mine)


def test_a_mapping_counts_as_a_writer(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 4096)
    writer = os.open(file, os.O_RDWR)
    mapped = mmap.mmap(writer, 4096)
    os.close(writer)
    mine = reading(file)
    assert not lease.acquire(mine, "log")
    mapped.close()
    assert lease.acquire(mine, "log")
    os.close(mine)


def test_who_wants_to_write_takes_the_lease_away_and_kills_nobody(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch()
    mine = reading(file)
    assert lease.acquire(mine, "log")
    pid = os.fork()
    if pid == 0:
        try:
            os.open(file, os.O_WRONLY | os.O_NONBLOCK)
        except BlockingIOError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert not lease.held(mine)
    os.close(mine)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EINVAL, Code.LEASE_UNAVAILABLE),
        (errno.ENOLCK, Code.LEASE_UNAVAILABLE),
        (errno.EACCES, Code.PERMISSION),
    ],
)
def test_without_leases_nothing_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: Code
) -> None:
    """As a file system answers that has none, such as NFS, or the kernel to a stranger."""
    real = fcntl.fcntl

    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETLEASE:
            raise OSError(number, os.strerror(number))
        return real(descriptor, command, argument)

    file = tmp_path / "log"
    file.touch()
    mine = reading(file)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pytest.raises(Art32Error) as caught:
        lease.acquire(mine, "log")
    monkeypatch.undo()
    assert caught.value.code is code
    os.close(mine)
