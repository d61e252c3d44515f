"""What the demo prints: numbered steps, commands as one types them, times and rates."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent import clock, output
from agent.errors import EXIT_MEANINGS, ExitStatus

_PATIENCE = 20


class DemoError(Exception):
    """Something that ends the demo: one sentence for people."""


@dataclass
class Step:
    """A step and what it came to; `amount` in bytes where a rate makes sense."""

    title: str
    seconds: float = 0.0
    amount: int | None = None


@dataclass
class Report:
    """The steps so far. `base` is the directory that shown paths are relative to."""

    base: Path
    steps: list[Step] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Announce a step, run the block, and print how long it took and at what rate."""
        step = Step(title)
        self.steps.append(step)
        say(f"\n{len(self.steps)}. {title}")
        begun = clock.monotonic()
        yield step
        step.seconds = clock.monotonic() - begun
        say(f"-- {', '.join(cell for cell in _cells(step) if cell)}")

    def skip(self, what: str) -> None:
        """Note what is left out, and why."""
        self.skipped.append(what)
        say(f"\nskipped: {what}")

    def summary(self) -> list[str]:
        """Return the table of all steps."""
        head = ("step", "time", "data", "rate")
        return output.table([head, *((step.title, *_cells(step)) for step in self.steps)])

    def command(
        self,
        argv: Sequence[str | Path],
        *,
        shown: str | None = None,
        accept: Sequence[int] = (0,),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Print a command and run it; raise DemoError unless it exits with one of `accept`."""
        self.show(shown or shlex.join(str(part) for part in argv))
        with running(argv, environment=environment) as child:
            status = child.wait()
        if status not in accept:
            raise DemoError(f"`{shown or Path(argv[0]).name}` ended with status {status}")
        if status != 0:
            say(f"(status {status}: {EXIT_MEANINGS[ExitStatus(status)]})")

    def show(self, line: str) -> None:
        """Print a command as one types it, with paths relative to where the demo was started."""
        say(f"$ {line.replace(f'{self.base}/', '')}")

    def relative(self, path: Path) -> str:
        """Return a path as it is shown."""
        return str(path).replace(f"{self.base}/", "")


def _cells(step: Step) -> tuple[str, str, str]:
    if step.amount is None:
        return output.duration(step.seconds), "", ""
    rate = f"{output.size(step.amount / max(step.seconds, 1e-6))}/s"
    return output.duration(step.seconds), output.size(step.amount), rate


def say(text: str = "") -> None:
    """Print a line at once, so that it stands before what a child prints next."""
    print(text, flush=True)


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Hold a child for the block; whatever ends the block, the child has ended then, too."""
    child = subprocess.Popen(
        [str(part) for part in argv],
        stdin=stdin,
        stdout=stdout,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def quiet(
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> bytes:
    """Run a helper's command unseen and return its output; raise DemoError with what it said."""
    done = subprocess.run(
        [str(part) for part in argv],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(environment or {})},
        cwd=cwd,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise DemoError(f"`{Path(argv[0]).name}` failed: {output.plain(said[-1])}")
    return done.stdout


def fail(sentence: str) -> None:
    """Print what went wrong, on standard error."""
    sys.stdout.flush()
    output.say(f"demo: {sentence}")
