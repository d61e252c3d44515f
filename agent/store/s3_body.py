"""What an upload reads from."""

from __future__ import annotations

from typing import Any

from agent.store import Bytes

_SMALL = 32 << 10


def body_of(data: Bytes) -> Any:
    """Return data in the form in which a stalled transfer is noticed.

    The socket's limit counts for one `send`: bytes go out in a single one, which must then be over
    in time however long the transfer takes (and never, on a slow line); a file goes in pieces.
    A file also waits for `100 Continue` (RFC 9110 10.1.1), so that a refusal is heard before
    the data has been sent. Small data fits into the socket's buffer and goes at once.
    """
    view = memoryview(data).cast("B")
    return bytes(view) if len(view) <= _SMALL else _View(view)


class _View:
    """Bytes as a file to read, without a copy of the whole."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._position + size
        piece = bytes(self._view[self._position : end])
        self._position += len(piece)
        return piece

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._position, len(self._view))[whence]
        self._position = max(0, min(start + offset, len(self._view)))
        return self._position
