"""Progress on standard error: one line that renews itself on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import json
import sys

from agent import clock, notify, output

_TERMINAL_SECONDS = 0.2
_LOG_SECONDS = 10.0


class Progress:
    """Shows how far a piece of work has come: bytes, bytes a second, seconds left; systemd is told
    the same as its status line.

    `expected` is the total in bytes where it is known, None where not. As a context manager it
    clears its line at the end.
    """

    def __init__(self, what: str, expected: int | None = None) -> None:
        self._what = what
        self._expected = expected
        self._begun = clock.monotonic()
        self._terminal = sys.stderr.isatty()
        self._next = self._begun + (0 if self._terminal else _LOG_SECONDS)
        self._done = 0
        self._shown = False
        notify.manager().status(what)

    def add(self, count: int) -> None:
        """Count some more bytes."""
        self.at(self._done + count)

    def at(self, done: int, expected: int | None = None) -> None:
        """Say that so many bytes are done."""
        self._done = done
        self._expected = expected or self._expected
        moment = clock.monotonic()
        if moment < self._next:
            return
        self._next = moment + (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS)
        rate = done / max(moment - self._begun, 1e-6)
        left = max(0.0, self._expected - done) / rate if self._expected and rate > 0 else None
        text = f"{self._what}: {output.size(done)}, {output.size(rate)}/s"
        if left is not None:
            text += f", {output.duration(left)} left"
        notify.manager().status(text)
        if self._terminal:
            self._show(text)
        else:
            self._log(rate, left)

    def _show(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
        self._shown = True

    def _log(self, rate: float, left: float | None) -> None:
        line = {
            "schema": "art32.progress/1",
            "what": self._what,
            "bytes": self._done,
            "bytes_per_second": round(rate),
            "seconds_left": None if left is None else round(left),
        }
        output.say(json.dumps(line))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
