"""One bash for a whole runbook: variables and directories last from block to block.

`set -Eeuo pipefail` holds in it: the first command that fails ends the block and the shell. What
the blocks print, standard error included, comes back as it is printed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import clock, run

# Descriptors 3 and 4: bash keeps its own from 10 upwards. A block has neither, so that what it
# leaves running in the background cannot hold them open.
_LOOP = """set -Eeuo pipefail
exec 2>&1 3<&{commands} 4>&{answers} {commands}<&- {answers}>&-
while IFS= read -r -u 3 file; do
  . "$file" 3<&- 4>&-
  printf 'done\\n' >&4
done"""
_PASSED_ON = ("TERM", "GPG_TTY", "GNUPGHOME", "DISPLAY", "AWS_PROFILE", "AWS_REGION", "LINES")
_PIECE = 65536
_EXITED = 255
# above what a shell or a person uses, so that taking 3 and 4 closes nothing else
_LOWEST = 64


@dataclass(frozen=True)
class Outcome:
    """What a block came to: its exit status (None: its time was over) and what it printed."""

    status: int | None
    printed: str
    seconds: float


class Shell:
    """The bash of one run. Its blocks lie in a private directory that ends with it."""

    def __init__(self, place: Path, child: run.Process, commands: int, answers: int) -> None:
        self._place = place
        self._child = child
        self._commands = commands
        self._answers = answers
        self._count = 0

    def run(self, text: str, *, timeout: float, show: Callable[[str], object]) -> Outcome:
        """Run a block, calling `show` with each piece of what it prints; `timeout` in seconds.

        After a failure or a time-out the shell is gone: further blocks need a new one.
        """
        self._count += 1
        file = self._place / f"block-{self._count}"
        file.write_text(text, encoding="utf-8")
        begun = clock.monotonic()
        printed: list[str] = []

        def tell(data: bytes) -> None:
            piece = data.decode("utf-8", "replace")
            printed.append(piece)
            show(piece)

        try:
            os.write(self._commands, f"{file}\n".encode())
        except BrokenPipeError:
            return Outcome(self._end(), "", 0.0)
        status = self._follow(begun + timeout, tell)
        return Outcome(status, "".join(printed), clock.monotonic() - begun)

    def _follow(self, end: float, tell: Callable[[bytes], object]) -> int | None:
        output = self._child.stdout.fileno()
        while True:
            ready = run.readable([output, self._answers], max(end - clock.monotonic(), 0))
            if not ready:
                self._child.kill()
                return None
            if output in ready and (data := os.read(output, _PIECE)):
                tell(data)
                continue
            if self._answers in ready:
                answer = os.read(self._answers, _PIECE)
                self._drain(output, tell)
                return 0 if answer else self._end()
            return self._end()

    def _end(self) -> int:
        """Return the status of a shell that is gone: never 0, for a block that ends it with `exit`
        has kept the others from running."""
        return self._child.wait() or _EXITED

    @staticmethod
    def _drain(output: int, tell: Callable[[bytes], object]) -> None:
        """Take what the block has printed before it said that it was done."""
        while run.readable([output], 0) and (data := os.read(output, _PIECE)):
            tell(data)


def _high_pipe() -> tuple[int, int]:
    low = os.pipe()
    try:
        read, write = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _LOWEST) for one in low)
    finally:
        for one in low:
            os.close(one)
    return read, write


@contextlib.contextmanager
def open_shell(variables: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[Shell]:
    """Yield a shell in which `variables` are set, not exported; `environment` is for its children.

    Its standard input is ours: a program may ask the person at the terminal.
    """
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    command_read, command_write = _high_pipe()
    answer_read, answer_write = _high_pipe()
    loop = _LOOP.format(commands=command_read, answers=answer_write)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="art32-runbook-") as place,
            run.Process(
                ["bash", "-c", loop],
                stdin=0,
                extra_environment={**passed, **environment},
                pass_fds=(command_read, answer_write),
                own_session=False,
            ) as child,
        ):
            os.close(command_read)
            os.close(answer_write)
            command_read = answer_write = -1
            shell = Shell(Path(place), child, command_write, answer_read)
            assignments = "".join(
                f"{name}={shlex.quote(text)}\n" for name, text in variables.items()
            )
            shell.run(assignments, timeout=60, show=lambda _: None)
            yield shell
    finally:
        for descriptor in (command_read, command_write, answer_read, answer_write):
            if descriptor >= 0:
                os.close(descriptor)
