"""The keys of a service that lives for long: opened when needed, and again after trouble."""

from __future__ import annotations

import contextlib
import dataclasses
import threading

from agent.backup import identity
from agent.backup.identity import Writer
from agent.config.model import Configuration
from agent.crypto import keys


class Keys:
    """The host's recipients and signing key. Safe between threads."""

    def __init__(self, config: Configuration) -> None:
        signing = config.wal.signing if config.wal is not None else None
        self._config = config.model_copy(update={"signing": signing or config.signing})
        self._guard = threading.Lock()
        self._opened = contextlib.ExitStack()
        self._writer: Writer | None = None

    def get(self) -> Writer:
        """Return them, checked; raise a key error when one of them is unusable."""
        with self._guard:
            if self._writer is None:
                found = self._opened.enter_context(identity.writer(self._config))
                keys.import_public_halves(found.home, [one.config for one in found.recipients])
                self._writer = dataclasses.replace(found, imported=True)
            return self._writer

    def drop(self, writer: Writer) -> None:
        """Let the next `get` read the key files anew, unless that has been done since."""
        with self._guard:
            if self._writer is writer:
                self._writer = None
                self._opened.close()

    def close(self) -> None:
        with self._guard:
            self._writer = None
            self._opened.close()
