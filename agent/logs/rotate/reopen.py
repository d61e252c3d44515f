"""Telling a writer to open its logs again: one signal, and never to the wrong process.

A process id from a file may be stale, or written by somebody hostile: root must not signal what it
names unseen (logrotate's history). The process is held by a pidfd, then its name and its user are
compared, then it is signalled through that pidfd.
"""

from __future__ import annotations

import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path

from agent.config.logs_presets import Preset
from agent.errors import Art32Error, Code
from agent.logs.rotate.directory import Trust
from agent.run import run

_PID_BYTES = 64
_SYSTEMD = Path("/run/systemd/system")


def tell(how: Preset, trusted: Trust) -> str | None:
    """Make a writer reopen and return who was told; None when it does not run.

    Raise PERMISSION when it may not be signalled, REOPEN_FAILED when the process id file or the
    process is not what it should be, or systemd refuses.
    """
    if how.pid_file is not None:
        found = _read(how.pid_file, trusted)
        if found is not None:
            return _signal(how, found)
    if how.unit is not None and _SYSTEMD.is_dir():
        return _ask_systemd(how, how.unit)
    return None


@dataclass(frozen=True)
class _Named:
    """The process id in a file, and the user whose file it is."""

    pid: int
    owner: int


def _read(path: Path, trusted: Trust) -> _Named | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(f"the process id in `{path}` cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in trusted.users:
            raise _failed(f"`{path}` belongs to the user id {found.st_uid}, who is not trusted")
        if found.st_mode & 0o022:
            raise _failed(f"`{path}` can be written to by others")
        words = os.read(descriptor, _PID_BYTES).split()
    finally:
        os.close(descriptor)
    if not words or not words[0].isdigit() or not 1 < int(words[0]) < 2**22 + 1:
        raise _failed(f"there is no process id in `{path}`")
    return _Named(int(words[0]), found.st_uid)


def _signal(how: Preset, named: _Named) -> str | None:
    try:
        handle = os.pidfd_open(named.pid)
    except ProcessLookupError:
        return None
    try:
        _require(how, named.pid, named.owner)
        if how.child is None:
            _send(handle, how)
            return f"{how.process} {named.pid}"
    finally:
        os.close(handle)
    return _signal_child(how, named)


def _signal_child(how: Preset, named: _Named) -> str:
    """Signal the child whose title ends as it should, such as `postgres: 15/main: logger`."""
    assert how.child is not None
    for pid in _children(named.pid):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            title = _text(pid, "cmdline").replace("\0", " ").strip()
            if title.rpartition(" ")[2] == how.child and _parent(pid) == named.pid:
                _require(how, pid, named.owner)
                _send(handle, how)
                return f"{how.process} {pid}, `{how.child}`"
        finally:
            os.close(handle)
    raise _failed(
        f"`{how.process}` {named.pid} has no child `{how.child}`",
        hint="PostgreSQL: set `logging_collector = on`, or let `art32 logs pipe` take its output",
    )


def _children(parent: int) -> list[int]:
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if _parent(pid) == parent]


def _parent(pid: int) -> int | None:
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def _text(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return ""


def _require(how: Preset, pid: int, owner: int) -> None:
    """Raise unless that process has the expected name and belongs to root or to the file's owner.

    Its pidfd is open, so the id cannot pass to another process in between.
    """
    name = _text(pid, "comm").strip()
    if how.process and name != how.process:
        raise _failed(f"process {pid} is `{name}`, not `{how.process}`: its id file is stale")
    user = Path(f"/proc/{pid}").stat().st_uid
    if owner not in (0, user, os.geteuid()):
        raise _failed(f"process {pid} belongs to another user than the file that names it")


def _send(handle: int, how: Preset) -> None:
    try:
        signal.pidfd_send_signal(handle, signal.Signals[f"SIG{how.signal}"])
    except PermissionError as error:
        raise Art32Error(
            Code.PERMISSION,
            f"`{how.process}` may not be signalled by this user",
            hint="run as root, or give the unit CAP_KILL",
        ) from error
    except ProcessLookupError:
        return


def _ask_systemd(how: Preset, unit: str) -> str | None:
    active = run(["systemctl", "is-active", "--quiet", unit])
    if active.returncode != 0:
        return None
    done = run(["systemctl", "kill", "--kill-whom=main", f"--signal=SIG{how.signal}", unit])
    if done.returncode != 0:
        raise _failed(
            f"systemd did not signal `{unit}`", hint=f"systemctl kill -s {how.signal} {unit}"
        )
    return unit


def _failed(sentence: str, *, hint: str | None = None) -> Art32Error:
    return Art32Error(
        Code.REOPEN_FAILED,
        sentence,
        hint=hint or "no segment is touched while its writer holds it: correct [[logs.rotate]]",
    )
