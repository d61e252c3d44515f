"""The lines that hold a hit, each with what can be read of it at once.

The kernel (`art32-kernel`) takes the usual lines of access logs apart, all of a block in one call;
without it, and for any other line, that is left to `formats`.
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from agent.logs.scan.engine import TRIGGER_BITS, Block, Hit

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where the line begins and ends in the block; whether it was read, and if so: the length of the
#: client's key, status, seconds (NO_TIME without), the key, the number of the target's path, where
#: the user begins and ends, where the request's quotation mark is; the triggers as bits.
Line = tuple[int, int, int, int, int, int, bytes, int, int, int, int, bytes]
HEAD = "<IIBBHq8sQIII"
NO_TIME = -(2**63)
_UNREAD = (0, 0, 0, NO_TIME, bytes(8), 0, 0, 0, 0)


class Lines(Protocol):
    """Finds the lines of hits."""

    name: str

    def count(self, block: Block) -> int:
        """Return how many line feeds a block has."""
        ...

    def read(self, block: Block, hits: Sequence[Hit]) -> Iterable[Line]:
        """Return the lines of a block that hold hits, in order; hits are in ascending order."""
        ...


class PlainLines:
    """Reads nothing of a line."""

    name = "plain"

    def __init__(self, triggers: int) -> None:
        self._mask = (triggers + 7) // 8

    def count(self, block: Block) -> int:
        """See `Lines`."""
        return bytes(block).count(b"\n")

    def read(self, block: Block, hits: Sequence[Hit]) -> Iterator[Line]:
        """See `Lines`."""
        whole = bytes(block)
        start = stop = triggers = 0
        for hit in hits:
            end = hit >> TRIGGER_BITS
            if end >= stop:
                if triggers:
                    yield (start, stop, *_UNREAD, triggers.to_bytes(self._mask, "little"))
                    triggers = 0
                start = whole.rfind(b"\n", 0, end) + 1
                stop = whole.find(b"\n", end)
                stop = len(whole) if stop < 0 else stop
            triggers |= 1 << (hit & (1 << TRIGGER_BITS) - 1)
        if triggers:
            yield (start, stop, *_UNREAD, triggers.to_bytes(self._mask, "little"))


class KernelLines:
    """Has the kernel read the usual line of an access log."""

    name = "kernel"

    def __init__(self, library: ctypes.CDLL, triggers: int) -> None:
        self._mask = (triggers + 7) // 8
        self._record = struct.Struct(f"{HEAD}{self._mask}s")
        self._read = library.art32_kernel_requests
        self._count = library.art32_kernel_line_feeds
        self._out = bytearray()

    def count(self, block: Block) -> int:
        """See `Lines`."""
        return int(self._count(_address(block), len(block)))

    def read(self, block: Block, hits: Sequence[Hit]) -> Iterable[Line]:
        """See `Lines`. What is returned is good until the next call."""
        if not hits:
            return ()
        size = len(hits) * self._record.size
        if len(self._out) < size:
            self._out = bytearray(size)
        numbers = array("Q", hits)
        count = self._read(
            _address(block),
            len(block),
            numbers.buffer_info()[0],
            len(numbers),
            self._mask,
            ctypes.byref(ctypes.c_char.from_buffer(self._out)),
            size,
        )
        if count < 0:
            raise RuntimeError(f"the kernel failed with status {-count} at lines of a log")
        with memoryview(self._out) as view:
            return list(self._record.iter_unpack(view[: count * self._record.size]))


def _address(block: Block) -> object:
    # memory that cannot be written has no address that ctypes would give
    if isinstance(block, memoryview) and not block.readonly:
        return ctypes.byref(ctypes.c_char.from_buffer(block))
    return block if isinstance(block, bytes) else bytes(block)


def open_lines(triggers: int, *, kernel: bool = True) -> Lines:
    """Return what reads the lines: the kernel when it is there."""
    from agent.logs.scrub import kernel as kernels

    if kernel and triggers < 1 << TRIGGER_BITS:
        try:
            return KernelLines(kernels.load(), triggers)
        except kernels.KernelUnusableError:
            pass
    return PlainLines(triggers)
