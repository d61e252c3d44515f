"""Scrubbed copies beside the log, for those who look at it here: `access.log-TIME-ID.zst`.

A copy is written without a name while its segment is shipped, and gets its name when the segment is
in the store. It is never needed: whatever goes wrong with it is a warning.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from agent import compression
from agent.config.logs_rotate import LogRetention, RotatedLog
from agent.logs.rotate import names
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment


class Copy:
    """A copy in the making; `problem` says why there will be none."""

    def __init__(self, place: LogDirectory, segment: Segment) -> None:
        self.problem: str | None = None
        self._place = place
        self._segment = segment
        self._compressor = compression.Compressor()
        self._descriptor = -1
        try:
            flags = os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC
            self._descriptor = os.open(".", flags, 0o600, dir_fd=place.descriptor)
        except OSError as error:
            self._fail(error)

    def add(self, data: bytes) -> None:
        """Add scrubbed lines."""
        self._write(self._compressor.compress(data))

    def commit(self) -> None:
        """Give the copy its name, durably; harmless when it is there already."""
        self._write(self._compressor.flush())
        if self._descriptor < 0:
            return
        try:
            os.fsync(self._descriptor)
            os.link(
                f"/proc/self/fd/{self._descriptor}",
                self._segment.kept_name,
                dst_dir_fd=self._place.descriptor,
                follow_symlinks=True,
            )
            os.fsync(self._place.descriptor)
        except FileExistsError:
            pass
        except OSError as error:
            self._fail(error)
        self.close()

    def close(self) -> None:
        """Forget what has no name yet."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view and self._descriptor >= 0:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        name = self._segment.kept_name
        self.problem = f"the local copy `{name}` cannot be written: {error.strerror}"
        self.close()


def prune(
    log: RotatedLog, place: LogDirectory, policy: LogRetention, now: datetime
) -> list[Segment]:
    """Remove the copies of a log that are too old, or too much, oldest first; return them."""
    copies = sorted(
        segment
        for name in place.names()
        if (segment := names.parse(name, names.KEPT)) is not None and log.matches(segment.file)
    )
    limit = now - timedelta(days=policy.local_days)
    gone, total = [], 0
    for segment in reversed(copies):
        try:
            with place.reading(segment.kept_name) as descriptor:
                total += os.fstat(descriptor).st_size
                too_much = policy.local_max_bytes is not None and total > policy.local_max_bytes
                if (segment.cut < limit or too_much) and place.remove(
                    segment.kept_name, descriptor
                ):
                    gone.append(segment)
        except FileNotFoundError:
            continue
    return gone
