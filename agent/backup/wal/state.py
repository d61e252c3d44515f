"""What the service leaves for health: when it last shipped, and what went wrong since."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from agent import clock, files
from agent.backup.wal.place import Place
from agent.errors import Art32Error

DIRECTORY = "wal"
_FILE = "status.json"
_PAUSE = 5.0  # seconds between two writes that say nothing new


@dataclass(frozen=True)
class Status:
    """Moments as in RFC 3339; `failure` is an error's code, None after a success."""

    shipped: str | None = None
    name: str | None = None
    failed: str | None = None
    failure: str | None = None


def read(state_directory: Path) -> Status | None:
    """Return what the service last wrote; None when it has never written, or rubbish."""
    try:
        document = json.loads((state_directory / DIRECTORY / _FILE).read_bytes())
        return Status(**{name: document[name] for name in Status.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Recorder:
    """Takes down what becomes of each file, and says each new kind of failure once."""

    def __init__(self, state_directory: Path, say: Callable[[str], None]) -> None:
        self._path = state_directory / DIRECTORY / _FILE
        self._say = say
        self._guard = threading.Lock()
        self._status = read(state_directory) or Status()
        self._written = float("-inf")

    def report(self, place: Place, error: Art32Error | None) -> None:
        """Take down one outcome; raise OSError when the disk takes no more."""
        now = clock.iso(clock.now())
        with self._guard:
            before = self._status
            if error is None:
                self._status = Status(now, place.name.text, before.failed, None)
            else:
                code = error.code.label
                self._status = Status(before.shipped, before.name, now, code)
            changed = self._status.failure != before.failure
            if changed:
                self._say(
                    f"`{place.name.text}`: {error.sentence}"
                    if error is not None
                    else f"ships again, `{place.name.text}`"
                )
            if changed or clock.monotonic() - self._written >= _PAUSE:
                self._written = clock.monotonic()
                files.make_directory(self._path.parent)
                files.replace(self._path, json.dumps(asdict(self._status)).encode())
