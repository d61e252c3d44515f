"""zstd as Python 3.14 has it in its standard library, and as its backport elsewhere (RFC 8878)."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator

from agent.errors import Art32Error, Code

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVELS = (1, 3)
SAMPLE = 4 << 20
WORTH = 0.98  # of the size at the lower level, for which the higher one may take twice the time
THREADS = max(1, min(4, os.cpu_count() or 1))
INPUT = 1 << 20
OUTPUT = 1 << 20
_MAGIC = bytes.fromhex("28b52ffd")
VERSION = zstd.zstd_version  #: the same bytes and level give the same frame with one version
WINDOW_LOG_MAX = 27  # what `zstd -d` accepts without an option


class Compressor:
    """Writes one frame with a checksum, on at most four threads.

    The first 4 MiB decide on the level: 3 where that saves two per cent against 1, which takes
    half of the time. It never does on what is compressed or encrypted already.
    """

    def __init__(self) -> None:
        self._sample = bytearray()
        self._frame: zstd.ZstdCompressor | None = None

    def compress(self, data: bytes) -> bytes:
        """Take some plaintext; return what there is of the frame, often nothing."""
        if self._frame is not None:
            return self._frame.compress(data)
        self._sample += data
        return self._begin().compress(self._taken()) if len(self._sample) >= SAMPLE else b""

    def flush(self) -> bytes:
        """Return the rest of the frame."""
        if self._frame is not None:
            return self._frame.flush()
        frame = self._begin()
        return frame.compress(self._taken()) + frame.flush()

    def _taken(self) -> bytearray:
        sample, self._sample = self._sample, bytearray()
        return sample

    def _begin(self) -> zstd.ZstdCompressor:
        self._frame = _frame(level(self._sample))
        return self._frame


def level(sample: bytes | bytearray) -> int:
    """Return the level that fits data of which this is the beginning."""
    low, high = (len(zstd.compress(sample[:SAMPLE], level=one)) for one in LEVELS)
    return LEVELS[high < low * WORTH]


def whole(data: bytes | bytearray | memoryview) -> bytes:
    """Return a frame with a checksum that holds all of some data, on one thread."""
    parameter = zstd.CompressionParameter
    chosen: dict[int, int] = {parameter.compression_level: LEVELS[0], parameter.checksum_flag: 1}
    return zstd.compress(data, options=chosen)


def _frame(chosen: int) -> zstd.ZstdCompressor:
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(
        options={
            parameter.compression_level: chosen,
            parameter.checksum_flag: 1,
            parameter.nb_workers: THREADS,
        }
    )


def decompress(
    chunks: Iterator[bytes | bytearray | memoryview],
) -> Generator[bytes, None, None]:
    """Yield the plaintext of one frame, at most 1 MiB at a time, however much it expands.

    Raise CORRUPT when the frame is damaged, cut, or followed by anything else.
    """
    parameter = zstd.DecompressionParameter
    decompressor = zstd.ZstdDecompressor(options={parameter.window_log_max: WINDOW_LOG_MAX})
    try:
        for chunk in _sliced(chunks):
            pending = chunk
            while not decompressor.eof and (pending or not decompressor.needs_input):
                if output := decompressor.decompress(pending, OUTPUT):
                    yield output
                pending = memoryview(b"")
            if decompressor.eof and (decompressor.unused_data or pending):
                raise Art32Error(Code.CORRUPT, "the compressed stream goes on after its end")
    except zstd.ZstdError as error:
        raise Art32Error(Code.CORRUPT, f"the compressed stream is damaged: {error}") from error
    if not decompressor.eof:
        raise Art32Error(Code.CORRUPT, "the compressed stream ends too early")


def _sliced(chunks: Iterator[bytes | bytearray | memoryview]) -> Iterator[memoryview]:
    """Yield the same bytes in pieces: what a decompressor has not yet used it copies away."""
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), INPUT):
            yield view[start : start + INPUT]


class Frame:
    """Follows the blocks of one frame without decompressing them (RFC 8878, section 3.1.1).

    `zstd -d` takes any number of frames, of other formats too: what goes to it must be one.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._skip = 0
        self._begun = self._last = self._ended = False
        self._checksum = 0

    def follow(self, data: memoryview) -> None:
        """Take the next bytes; raise CORRUPT when they cannot belong to the frame."""
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
            elif self._last:
                if self._ended or not self._checksum:
                    raise Art32Error(Code.CORRUPT, "the compressed stream goes on after its end")
                self._skip, self._ended = self._checksum, True
            else:
                self._head.append(data[position])
                position += 1
                self._read_head()

    def require_end(self) -> None:
        """Raise CORRUPT unless the frame has ended."""
        if not self._last or self._skip or (self._checksum and not self._ended):
            raise Art32Error(Code.CORRUPT, "the compressed stream ends too early")

    def _read_head(self) -> None:
        head = self._head
        if self._begun:
            if len(head) < 3:
                return
            block = int.from_bytes(head, "little")
            self._last, kind = bool(block & 1), block >> 1 & 3
            if kind == 3:
                raise Art32Error(Code.CORRUPT, "the compressed stream is damaged: no such block")
            self._skip = 1 if kind == 1 else block >> 3
        else:
            if not _MAGIC.startswith(head[:4]):
                raise Art32Error(Code.CORRUPT, "the compressed stream is damaged: no zstd frame")
            if len(head) < 5:
                return
            flags = head[4]
            single, dictionary, size = flags >> 5 & 1, flags & 3, flags >> 6
            self._skip = (1 - single) + (0, 1, 2, 4)[dictionary] + (single, 2, 4, 8)[size]
            self._checksum = 4 * (flags >> 2 & 1)
            self._begun = True
        head.clear()
