"""One way from its source to its output: take, show to the scan, scrub, write, forget."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from agent import clock, output
from agent.errors import Art32Error, Code, from_defect
from agent.logs.pipe import syslog
from agent.logs.pipe.lines import mask
from agent.logs.pipe.outputs import Output
from agent.logs.pipe.sources import Source, Watch
from agent.logs.pipe.syslog import Head

_FALLEN_BEHIND, _CAUGHT_UP = 0.5, 0.1
_MOST_PROGRAMS = 1024
_OK = b"OK\n"


class Scrubs(Protocol):
    """Takes whole lines and returns as many, without personal data; `fast` when by the kernel."""

    @property
    def fast(self) -> bool: ...

    def scrub(self, block: bytes) -> bytes: ...


@dataclass
class Counts:
    """What became of the lines. `dropped` is the kernel's own counter, None where it has none."""

    received: int = 0
    written: int = 0
    dropped: int | None = None
    malformed: int = 0
    cut: int = 0
    masked_bluntly: int = 0
    unwritten: int = 0

    def worrying(self) -> bool:
        return bool(self.dropped or self.unwritten or self.masked_bluntly)


@dataclass
class Flow:
    """A source, an output and what lies between. `observe` sees raw lines before they are gone.

    `confirm` is a descriptor that gets `OK` for each line that is written (rsyslog's omprog).
    """

    name: str
    source: Source
    output: Output
    scrubber: Scrubs
    framing: Literal["syslog", "lines"] = "lines"
    header: Literal["drop", "keep"] = "drop"
    observe: Callable[[bytes], object] | None = None
    confirm: int | None = None
    counts: Counts = field(default_factory=Counts)
    stalled_since: float | None = None
    changed: bool = False
    _behind: bool = False
    _tried: float = 0
    _told_drops: int = 0
    _told_defect: bool = False
    _programs: dict[bytes, bytes] = field(default_factory=dict)

    def begin(self, watch: Watch) -> None:
        """Open the gate; with `confirm`, tell that it is open."""
        self.source.begin(watch)
        if self.confirm is not None:
            self._answer(1)

    @property
    def finished(self) -> bool:
        return self.source.finished and not self.output.pending

    def receive(self, descriptor: int, hung_up: bool) -> bool:
        """Take what a descriptor has and write it; return whether to be called again at once."""
        block, more = self.source.receive(descriptor, hung_up)
        if block:
            self.changed = True
            heads, block = self._prepared(block)
            self.output.offer(self._scrubbed(block), heads)
        return self.flush() and more

    def may_retry(self, every: float) -> bool:
        """Whether the output took nothing and it is time to try again."""
        if self.stalled_since is None or clock.monotonic() - self._tried < every:
            return False
        self._tried = clock.monotonic()
        return True

    def flush(self) -> bool:
        """Write what was taken; return whether that is done. If not, nothing more is taken."""
        lines = self.output.pending
        try:
            self.output.flush()
        except OSError as error:
            self._stall(error)
            self.counts.written += lines - self.output.pending
            return False
        self.counts.written += lines
        self.source.written()
        if self.confirm is not None and lines:
            self._answer(lines)
        if self.stalled_since is not None:
            seconds = clock.monotonic() - self.stalled_since
            self.stalled_since = None
            self.tell(f"`{self.output.name}` is written again after {seconds:.0f} s")
        return True

    def _prepared(self, block: bytes) -> tuple[list[Head] | None, bytes]:
        lines = block.count(b"\n")
        self.counts.received += lines
        heads: list[Head] | None = None
        unknown = 0
        if self.framing == "syslog":
            if self.output.wants_heads:
                heads, block, unknown = syslog.heads(block)
                heads = [self._scrubbed_head(head) for head in heads]
            elif self.header == "drop":
                block, unknown = syslog.without_headers(block)
            else:
                block, unknown = syslog.without_priorities(block)
        self.counts.malformed += unknown
        if self.observe is not None:
            self.observe(block)
        return heads, block

    def _scrubbed(self, block: bytes) -> bytes:
        if self._is_behind():
            return self._masked(block)
        try:
            return self.scrubber.scrub(block)
        except Exception as error:  # noqa: BLE001 - a log must not stop, and not be raw either
            if not self._told_defect:
                self._told_defect = True
                self.tell(f"lines are masked bluntly: {from_defect(error).sentence}")
            return self._masked(block)

    def _masked(self, block: bytes) -> bytes:
        self.counts.masked_bluntly += block.count(b"\n")
        return mask(block)

    def _is_behind(self) -> bool:
        """Without the kernel scrubbing may be slower than datagrams come; senders that wait are
        never masked for it."""
        if self.scrubber.fast:
            return False
        queue = self.source.queue()
        if queue is None:
            return False
        self._behind = queue.used > queue.size * (_CAUGHT_UP if self._behind else _FALLEN_BEHIND)
        return self._behind

    def _scrubbed_head(self, head: Head) -> Head:
        program = self._programs.get(head.program)
        if program is None:
            if len(self._programs) >= _MOST_PROGRAMS:
                self._programs.clear()
            program = self._scrubbed(head.program + b"\n")[:-1]
            self._programs[head.program] = program
        return Head(head.priority, program, head.process)

    def _answer(self, lines: int) -> None:
        assert self.confirm is not None
        left = memoryview(_OK * lines)
        with contextlib.suppress(BrokenPipeError):  # its standard input ends then, too
            while left:
                left = left[os.write(self.confirm, left) :]

    def _stall(self, error: OSError) -> None:
        if self.stalled_since is None:
            self.stalled_since = self._tried = clock.monotonic()
            reason = (error.strerror or type(error).__name__).lower()
            self.tell(
                f"`{self.output.name}` cannot be written: {reason}; nothing is taken until it can: "
                "senders that wait are held up, datagrams are dropped and counted when their "
                "queue is full"
            )

    def update(self) -> None:
        """Bring the counts up to date; tell when the kernel has dropped datagrams."""
        self.counts.cut = self.source.cut
        queue = self.source.queue()
        if queue is None:
            return
        self.counts.dropped = queue.dropped
        if queue.dropped > self._told_drops:
            new = queue.dropped - self._told_drops
            self._told_drops = queue.dropped
            self.tell(
                f"{new} datagrams dropped by the kernel, {queue.dropped} in all: the receive "
                f"buffer of {queue.size // 2} bytes was full"
            )

    def reopen(self) -> None:
        """Go on in the file that has the name now; when that fails, in the old one."""
        try:
            self.output.reopen()
        except (Art32Error, OSError) as error:
            reason = error.sentence if isinstance(error, Art32Error) else str(error.strerror)
            self.tell(f"not reopened, the old file is written on: {reason}")

    def end(self) -> None:
        """Write the last, close, and count what could not be written."""
        with contextlib.suppress(OSError):
            self.output.flush()
        self.counts.unwritten = self.output.pending
        with contextlib.suppress(OSError):
            self.output.close()
        self.update()

    def summary(self) -> str:
        """Return one line for people."""
        counts = self.counts
        parts = [f"{counts.received} lines received", f"{counts.written} written"]
        if counts.dropped is not None:
            parts.append(f"{counts.dropped} dropped by the kernel")
        parts += [
            f"{number} {name.replace('_', ' ')}"
            for name in ("malformed", "cut", "masked_bluntly", "unwritten")
            if (number := getattr(counts, name))
        ]
        return f"{self.name}: {', '.join(parts)}"

    def data(self) -> dict[str, Any]:
        return {"name": self.name, "stalled": self.stalled_since is not None, **asdict(self.counts)}

    def tell(self, text: str) -> None:
        self.say(f"warning: pipe `{self.name}`: {text}")

    def say(self, text: str) -> None:
        """Print a line on standard error, if there is one."""
        with contextlib.suppress(OSError):
            output.say(f"art32: {text}")

    def failure(self) -> Art32Error | None:
        """Return why not all that was taken is written, None when it is."""
        if not self.counts.unwritten:
            return None
        return Art32Error(
            Code.DISK,
            f"{self.counts.unwritten} lines of the pipe `{self.name}` could not be written to "
            f"`{self.output.name}`",
            hint="make room on its disk; what a pipe or a socket of systemd holds is not lost",
        )
