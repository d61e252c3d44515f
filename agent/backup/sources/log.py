"""A segment of a log on its way back: one new file.

Nothing is dumped here: a segment is shipped by `agent.logs`, through `agent.backup.log_segments`.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.backup.sources import RestoreRequest, _file_target


def check_target(request: RestoreRequest) -> None:
    """Raise TARGET_EXISTS or TARGET_FAILED unless the target is a file that may be made."""
    _file_target.check(request)


def left(request: RestoreRequest) -> str | None:
    """Return the path of what a killed restore left."""
    return _file_target.left(request)


def discard(request: RestoreRequest) -> None:
    """Remove what a killed restore left; see `_file_target.discard`."""
    _file_target.discard(request)


def restore(stream: Iterator[bytes], request: RestoreRequest) -> str:
    """Write the segment to a new file of mode 0600, which gets its name last."""
    path, size, _ = _file_target.write(stream, request)
    return f"{size} bytes are in `{path}`"
