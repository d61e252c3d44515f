"""Shows raw lines to the scan before they are scrubbed; they come by here once and never again."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable

from agent import clock, output
from agent.config.logs_scan import Scan
from agent.errors import Art32Error, from_defect
from agent.logs.scan import open_scanner
from agent.logs.scan.publish import Told, publish

_PUBLISH_SECONDS = 60.0


class Scanning:
    """A scanner for all pipes of this process. It must never stop the log: what goes wrong is told
    once, and lines are written on."""

    def __init__(
        self, settings: Scan, scrub: Callable[[bytes], bytes], told: Told | None = None
    ) -> None:
        self._settings = settings
        self._on_new = told
        self._scanner = open_scanner(settings, scrub=scrub)
        self._segment = secrets.token_hex(8)  # this process's lines have no name that lasts
        self._offsets: dict[str, int] = {}
        self._day = _today()
        self._due = clock.monotonic() + _PUBLISH_SECONDS
        self._told: set[str] = set()

    def observe(self, name: str, block: bytes) -> None:
        """Look at a block of a pipe's raw lines."""
        offset = self._offsets.get(name, 0)
        self._offsets[name] = offset + len(block)
        try:
            self._scanner.feed(
                block, source=f"pipe:{name}", segment=f"{name}:{self._segment}", offset=offset
            )
        except Exception as error:  # noqa: BLE001 - a log must not stop because of its scan
            self._tell(f"these lines are not scanned: {from_defect(error).sentence}")
        if clock.monotonic() >= self._due:
            self.publish()

    def publish(self) -> None:
        """Write what was found where `art32 logs digest` and health look."""
        self._due = clock.monotonic() + _PUBLISH_SECONDS
        try:
            warnings = publish(
                self._settings, self._scanner, "pipe", day=self._day, told=self._on_new
            )
        except Art32Error as error:
            warnings = [error.sentence]
        for warning in warnings:
            self._tell(warning)
        if _today() != self._day:
            self._scanner.new_day()
            self._day = _today()

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            with contextlib.suppress(OSError):
                output.say(f"art32: warning: {sentence}")


def _today() -> str:
    return clock.now().strftime("%Y-%m-%d")
