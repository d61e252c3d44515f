"""Keeps the memory of segments from piling up: what is freed goes back to the system at once."""

from __future__ import annotations

import ctypes
import functools

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGE = 8 << 20


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
