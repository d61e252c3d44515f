"""The scrubber of a pipe: one that changes its key when the UTC day does."""

from __future__ import annotations

from agent.config.scrubbing import Settings
from agent.logs.scrub import Scrubber, open_scrubber
from agent.logs.scrub.keys import PeriodKey, today
from agent.logs.scrub.shared_keys import OwnKeys, SharedKeys, open_keys


class DailyScrubber:
    """Scrubs with a key of the UTC day, from `keys`; without them with one of its own.

    A line's day is the one on which it came in, whatever the line says. Keys of days before are
    forgotten, unless `rotated`: then a rotation may need them, and forgets them.
    """

    def __init__(
        self, settings: Settings, keys: SharedKeys | OwnKeys | None = None, *, rotated: bool = False
    ) -> None:
        self._settings = settings
        self._keys = keys or open_keys(settings)
        self._rotated = rotated
        self._key: PeriodKey | None = None
        self._scrubber = self._open()

    def _open(self) -> Scrubber:
        if self._settings.mode != "pseudonym":
            return open_scrubber(self._settings)
        if not self._rotated:
            self._keys.forget(today())
        self._key = self._keys.key(today())
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
