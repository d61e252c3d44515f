"""Word from the kernel that names have changed, by watchdog where it is installed.

Only creations, deletions and renames are asked for: a busy log would bring one event a line. Events
only hasten the look at the names; when the kernel's queue overflows, which watchdog does not tell,
the next look by the clock finds the same.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from agent import output


class Events:
    """Watches directories while the block lasts."""

    def __init__(self, directories: Iterable[Path], stop: threading.Event) -> None:
        self._directories = sorted(set(directories))
        self._stop = stop
        self._came = threading.Event()
        self._observer: Any = None

    def something_came(self) -> bool:
        """Return whether names have changed since the last call."""
        came = self._came.is_set()
        self._came.clear()
        return came

    def wait(self, seconds: float) -> None:
        """Wait until the end is asked for, at most so long; less when names change."""
        if not self._came.wait(seconds / 2):
            self._stop.wait(seconds / 2)

    def __enter__(self) -> Events:
        try:
            from watchdog import events
            from watchdog.observers import Observer
        except ImportError:
            return self
        came = self._came

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                came.set()

        wanted = [events.FileCreatedEvent, events.FileMovedEvent, events.FileDeletedEvent]
        try:
            observer = Observer()
            for directory in self._directories:
                with contextlib.suppress(OSError):  # not there yet, or too many watches
                    observer.schedule(Handler(), str(directory), event_filter=wanted)
            observer.start()
        except OSError as error:  # more instances of inotify than the kernel allows a user
            output.say(
                f"warning: the kernel gives no word of renamed logs ({error.strerror}): they are "
                "noticed by the clock alone"
            )
        else:
            self._observer = observer
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
