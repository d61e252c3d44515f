"""The only door to other processes.

Arguments are lists, never a shell's line. A child gets a small environment of its own: nothing of
ours leaks into it, and no secret is ever put there. Its standard error is collected, bounded, and
shown only through `agent.redact`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from agent.errors import Art32Error, Code

PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
TimeoutExpired = subprocess.TimeoutExpired
PIPE_BYTES = 1 << 20
STDERR_BYTES = 64 << 10
_PASSED_ON = ("PATH", "HOME", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")


@dataclass(frozen=True)
class Completed:
    """What a short-lived child left: its exit status and what it printed."""

    returncode: int
    stdout: bytes
    stderr: bytes


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child: a fixed locale, a few variables, and `extra`."""
    base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    base.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return {**base, "LC_ALL": "C.UTF-8", **(extra or {})}


def readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    """Return the descriptors that can be read, or are at their end, within so many seconds.

    poll(2), for select(2) takes no descriptor above 1023.
    """
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in waiting.poll(seconds * 1000)]


def find(program: str, *, package: str) -> str:
    """Return the path of a program; raise TOOL_MISSING with the package that brings it."""
    path = shutil.which(program)
    if path is None:
        raise Art32Error(
            Code.TOOL_MISSING,
            f"`{program}` is not installed",
            hint=f"apt-get install {package}",
        )
    return path


def _unstartable(program: str, error: OSError) -> Art32Error:
    if isinstance(error, FileNotFoundError):
        return Art32Error(Code.TOOL_MISSING, f"`{program}` is not installed")
    if isinstance(error, PermissionError):
        return Art32Error(Code.PERMISSION, f"`{program}` may not be run")
    reason = (error.strerror or "error").lower()
    return Art32Error(
        Code.TOOL_FAILED,
        f"`{program}` cannot be started: {reason}",
        hint="a script needs a first line such as `#!/bin/sh`",
    )


def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    extra_environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    timeout: float = 120,
) -> Completed:
    """Run a short command to its end and return what it left; a non-zero status is no error here.

    Raise TOOL_MISSING when the program is not there, TOOL_FAILED when `timeout` seconds pass.
    """
    try:
        done = subprocess.run(  # noqa: S603
            list(argv),
            input=stdin,
            capture_output=True,
            env=environment(extra_environment),
            pass_fds=tuple(pass_fds),
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise _unstartable(argv[0], error) from error
    except subprocess.TimeoutExpired as error:
        raise Art32Error(
            Code.TOOL_FAILED, f"`{os.path.basename(argv[0])}` did not finish in {timeout:.0f} s"
        ) from error
    return Completed(done.returncode, done.stdout, done.stderr)


def detach(argv: Sequence[str]) -> None:
    """Start a program by its path that lives on without us and says nothing, and do not wait for
    it; what keeps it from starting is nobody's failure."""
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    with contextlib.suppress(OSError):
        os.posix_spawn(argv[0], list(argv), environment(), file_actions=nowhere, setsid=True)


_STARTS = (b"#!", b"\x7fE")  # what setpriv(1) and the kernel run alike


def _mortal(argv: Sequence[str], path: str, *, with_children: bool) -> list[str]:
    """Return an argv that the kernel ends when the thread that starts it ends (prctl(2)).

    setpriv(1) asks for that in the child itself: Python could do it only between fork and exec,
    where a process with threads may deadlock. timeout(1), with no time limit, passes it on to all
    the group. What is no program, or no plain one, is left alone: the kernel says what is wrong.
    """
    program, setpriv = (shutil.which(name, path=path) for name in (argv[0], "setpriv"))
    asks_itself = tuple(argv[:2]) == ("setpriv", "--pdeathsig")
    if program is None or setpriv is None or asks_itself:
        return list(argv)
    try:
        with open(program, "rb") as file:
            plain = file.read(2) in _STARTS
    except OSError:
        plain = True  # it may be run, and not read
    timeout = shutil.which("timeout", path=path) if with_children else None
    if not plain:
        return list(argv)
    if timeout is None:
        return [setpriv, "--pdeathsig", "KILL", *argv]
    return [setpriv, "--pdeathsig", "TERM", timeout, "--kill-after=5", "0", *argv]


class Process:
    """A child that streams: its standard input and output are pipes, its errors are collected.

    As a context manager it never outlives the block: leaving it kills what still runs, with all
    its own children. Nor does it outlive the thread that started it, even when that is killed:
    the kernel kills it then, and `with_children` those that it has started as well (SIGTERM).
    `on_stderr` is called, in a thread of its own, with each piece of standard error: for programs
    whose messages must be counted even when there are very many. Without a session
    of its own the child keeps the terminal and may ask the person there; then only it is killed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        extra_environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        cwd: str | None = None,
        on_stderr: Callable[[bytes], object] | None = None,
        with_children: bool = False,
        own_session: bool = True,
    ) -> None:
        self.name = os.path.basename(argv[0])
        self._own_session = own_session
        variables = environment(extra_environment)
        try:
            self._child = subprocess.Popen(  # noqa: S603
                _mortal(argv, variables["PATH"], with_children=with_children),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=variables,
                pass_fds=tuple(pass_fds),
                cwd=cwd,
                start_new_session=own_session,
                bufsize=0,
            )
        except OSError as error:
            raise _unstartable(argv[0], error) from error
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # an unprivileged user has a quota for pipes
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stderr = bytearray()
        self._on_stderr = on_stderr
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self._child.stderr is not None
        while chunk := self._child.stderr.read(8192):
            self._stderr += chunk
            if self._on_stderr is not None:
                self._on_stderr(chunk)
            if len(self._stderr) > 2 * STDERR_BYTES:
                del self._stderr[STDERR_BYTES:-STDERR_BYTES]

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stdin(self) -> IO[bytes]:
        assert self._child.stdin is not None
        return self._child.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self._child.stdout is not None
        return self._child.stdout

    @property
    def stderr(self) -> bytes:
        """What the child has printed on standard error so far, its middle cut when it is long."""
        return bytes(self._stderr)

    @property
    def ended(self) -> bool:
        """Whether the child has ended."""
        return self._child.poll() is not None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status; negative is a signal's number."""
        status = self._child.wait(timeout)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        """End the child and all its children at once; harmless when it was waited for."""
        if self._child.returncode is None:  # not reaped: the group's number is still ours
            with contextlib.suppress(ProcessLookupError):
                if self._own_session:
                    os.killpg(self._child.pid, signal.SIGKILL)
                else:
                    self._child.kill()
            self._child.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._reader.join(5)
        assert self._child.stderr is not None
        self._child.stderr.close()
