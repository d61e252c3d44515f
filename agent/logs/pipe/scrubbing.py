"""The scrubber of a pipe: one that changes its key when the UTC day does."""

from __future__ import annotations

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import Scrubber, open_scrubber
from agent.logs.scrub.keys import PeriodKey, random_key, today


class DailyScrubber:
    """Scrubs with a random key of the UTC day, which is in this memory alone.

    A line's day is the one on which it came in, whatever the line says.
    """

    def __init__(self, settings: Scrub) -> None:
        self._settings = settings
        self._key: PeriodKey | None = None
        self._scrubber = self._open()

    def _open(self) -> Scrubber:
        if self._settings.mode != "pseudonym":
            return open_scrubber(self._settings)
        self._key = random_key()
        return open_scrubber(self._settings, key=self._key)

    @property
    def fast(self) -> bool:
        """Whether the kernel does it."""
        return self._scrubber.engine == "kernel"

    def scrub(self, block: bytes) -> bytes:
        """Return whole lines without personal data."""
        if self._key is not None and self._key.day != today():
            self._key.destroy()
            self._scrubber = self._open()
        return self._scrubber.scrub(block)
