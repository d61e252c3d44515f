"""A dump that is a child process: its standard output is the stream, its exit status decides."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent import redact, run
from agent.backup.sources import CHUNK, DumpReport, pour
from agent.errors import Art32Error, Code
from agent.run import Process, TimeoutExpired

LINGER_SECONDS = 600.0
ANY_STATUS = range(-128, 256)


@dataclass(frozen=True)
class Ended:
    """How a dumping program ended: its exit status, its standard error, its number of bytes."""

    status: int
    stderr: bytes
    size: int


def failure(name: str, ended: Ended, *, hint: str | None = None) -> Art32Error:
    """Return the SOURCE_FAILED for a program that ended badly, with what it said, redacted."""
    if ended.status < 0:
        how = f"was ended by {_signal_name(-ended.status)}"
    else:
        how = f"exited with status {ended.status}"
    said = redact.diagnostic(ended.stderr)
    return Art32Error(
        Code.SOURCE_FAILED, f"`{name}` {how}" + (f": {said}" if said else ""), hint=hint
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class ProcessDump:
    """The `Dump` of a running child; made by `process_dump`."""

    def __init__(
        self,
        process: Process,
        *,
        finish: Callable[[Ended], DumpReport],
        observers: Sequence[Callable[[bytes], object]],
        accepted: Collection[int],
        hint: str | None,
        silence: float | None,
    ) -> None:
        self._silence = silence
        self._process = process
        self._finish = finish
        self._observers = observers
        self._accepted = accepted
        self._hint = hint
        self._size = 0
        self._at_end = False

    def read(self) -> bytes:
        if self._silence is not None and not self._at_end:
            self._await(self._silence)
        chunk = os.read(self._process.stdout.fileno(), CHUNK)
        self._size += len(chunk)
        self._at_end = not chunk
        for observe in self._observers:
            if chunk:
                observe(chunk)
        return chunk

    def _await(self, seconds: float) -> None:
        if not run.readable([self._process.stdout.fileno()], seconds):
            said = redact.diagnostic(self._process.stderr)
            raise Art32Error(
                Code.SOURCE_FAILED,
                f"`{self._process.name}` has printed nothing for {seconds:.0f} s"
                + (f": {said}" if said else ""),
                hint=self._hint,
            )

    def finish(self) -> DumpReport:
        if not self._at_end:
            raise Art32Error(
                Code.DEFECT, f"the output of `{self._process.name}` was not read whole"
            )
        try:
            status = self._process.wait(LINGER_SECONDS)
        except TimeoutExpired as error:
            raise Art32Error(
                Code.SOURCE_FAILED,
                f"`{self._process.name}` closed its output and did not end in "
                f"{LINGER_SECONDS:.0f} s",
            ) from error
        ended = Ended(status, self._process.stderr, self._size)
        if status not in self._accepted:
            raise failure(self._process.name, ended, hint=self._hint)
        return self._finish(ended)


@contextlib.contextmanager
def process_dump(
    argv: Sequence[str],
    *,
    finish: Callable[[Ended], DumpReport],
    observers: Sequence[Callable[[bytes], object]] = (),
    accepted: Collection[int] = (0,),
    hint: str | None = None,
    extra_environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    on_stderr: Callable[[bytes], object] | None = None,
    with_children: bool = False,
    silence: float | None = None,
) -> Iterator[ProcessDump]:
    """Start a program and give its standard output as a `Dump`.

    Each of `observers` is called with every non-empty piece of output, in order, in the reader's
    thread. `finish` is called after the end with how the program ended, and only when its exit
    status is one of `accepted`; any other raises SOURCE_FAILED with `hint`, and so does reading
    when nothing comes for `silence` seconds. `on_stderr` and `with_children` are as in `Process`.
    Leaving the block kills the program and its children.
    Raise TOOL_MISSING when the program is not installed.
    """
    with Process(
        argv,
        extra_environment=extra_environment,
        pass_fds=pass_fds,
        on_stderr=on_stderr,
        with_children=with_children,
    ) as process:
        yield ProcessDump(
            process,
            finish=finish,
            observers=observers,
            accepted=accepted,
            hint=hint,
            silence=silence,
        )


def pump(stream: Iterator[bytes], process: Process) -> None:
    """Write a stream to a child's standard input and close it.

    A child that stops reading early and ends well has what it needs; the stream is still read to
    its end, because only its end says that it verifies. A child that failed ends this at once.
    """
    try:
        pour(stream, process.stdin.fileno())
    except BrokenPipeError:
        if process.wait() == 0:
            for _ in stream:
                pass
        return
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


class Tail:
    """An observer that keeps the last bytes of a stream, at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = b""

    def __call__(self, chunk: bytes) -> None:
        self._kept = (self._kept + chunk[-self._limit :])[-self._limit :]

    @property
    def value(self) -> bytes:
        return self._kept
