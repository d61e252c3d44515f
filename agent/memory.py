"""Memory of bounded size that is used again: fresh pages cost more than what is done with them."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import threading
import weakref
from collections.abc import Callable
from queue import LifoQueue

from agent.errors import Art32Error, Code

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGE = 8 << 20


class Buffer:
    """Memory that a child process can have as its standard input or output (memfd_create(2)).

    It is a file without a name and on no disk, mapped here: neither side copies through a pipe.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.length = 0
        self._descriptor = os.memfd_create("art32")
        weakref.finalize(self, os.close, self._descriptor)
        self._size = 0
        self._resize(self.capacity)
        self._view = memoryview(mmap.mmap(self._descriptor, self.capacity))

    @property
    def view(self) -> memoryview:
        """The bytes that are in it."""
        return self._view[: self.length]

    @property
    def full(self) -> bool:
        return self.length == self.capacity

    def clear(self) -> None:
        """Empty it: its pages stay, to be used again."""
        self._resize(self.capacity)
        self.length = 0

    def _resize(self, size: int) -> None:
        if size != self._size:
            os.ftruncate(self._descriptor, size)
            self._size = size

    def append(self, data: memoryview) -> int:
        """Take as many of the bytes as there is room for; return how many."""
        count = min(len(data), self.capacity - self.length)
        self._view[self.length : self.length + count] = data[:count]
        self.length += count
        return count

    def write(self, data: memoryview) -> int:
        """Do what `append` does through the file: in two thirds of the time where no pages are yet,
        for none is cleared before it is written."""
        count = 0
        wanted = min(len(data), self.capacity - self.length)
        while count < wanted:
            count += os.pwrite(self._descriptor, data[count:wanted], self.length + count)
        self.length += count
        return count

    def extend(self, write: Callable[[memoryview], int]) -> int:
        """Have what is free written by a function that returns how many bytes it wrote; return
        that."""
        count = write(self._view[self.length : self.capacity])
        self.length += count
        return count

    def fill(self, write: Callable[[memoryview], int]) -> None:
        """Have the whole room written by a function that returns how many bytes it wrote."""
        self.clear()
        self.length = write(self._view)

    def as_input(self) -> int:
        """Return a descriptor for a child to read: what is in the buffer, from the start."""
        self._resize(self.length)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._descriptor

    def as_output(self) -> int:
        """Return a descriptor for a child to write; call `wrote` when it has ended."""
        self.clear()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._descriptor

    def wrote(self) -> None:
        """Take what a child has written; raise TOOL_FAILED when it is more than there is room."""
        length = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        if length > self.capacity:
            self._size = length
            self.clear()
            raise Art32Error(Code.TOOL_FAILED, "a program wrote more than it was given")
        self.length = length


class Room:
    """The buffers of one thread, each made anew only when a larger one is wanted."""

    def __init__(self) -> None:
        self._buffers: dict[str, Buffer] = {}

    def take(self, what: str, capacity: int) -> Buffer:
        """Return an empty buffer for some purpose, the one of last time if it is large enough."""
        found = self._buffers.get(what)
        if found is None or found.capacity < capacity:
            found = self._buffers[what] = Buffer(capacity)
        found.clear()
        return found

    def drop(self) -> None:
        """Give the memory back."""
        self._buffers.clear()


class Pool:
    """A few buffers of one size, made when they are first needed and then handed round."""

    def __init__(self, count: int, capacity: int) -> None:
        self._capacity = capacity
        self._unmade = count
        self._guard = threading.Lock()
        self._free: LifoQueue[Buffer] = LifoQueue()

    def take(self) -> Buffer:
        """Return an empty buffer; wait while all are in use."""
        with self._guard:
            if self._free.empty() and self._unmade:
                self._unmade -= 1
                return Buffer(self._capacity)
        buffer = self._free.get()
        buffer.clear()
        return buffer

    def give(self, buffer: Buffer) -> None:
        """Give a buffer back: nothing may look at it any more."""
        self._free.put(buffer)


@functools.cache
def return_large_blocks() -> None:
    """Let blocks of 8 MiB and more be mapped and unmapped one by one.

    glibc raises that limit up to 32 MiB by itself as blocks are freed, and then keeps segments,
    which are just that large, in arenas of many threads. Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)  # else small freed blocks would be unmapped at once
