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

LEVEL = 3
THREADS = max(1, min(4, os.cpu_count() or 1))
INPUT = 1 << 20
OUTPUT = 1 << 20
WINDOW_LOG_MAX = 27  # what `zstd -d` accepts without an option


def compressor() -> zstd.ZstdCompressor:
    """Return a compressor that writes one frame with a checksum, on at most four threads."""
    parameter = zstd.CompressionParameter
    return zstd.ZstdCompressor(
        options={
            parameter.compression_level: LEVEL,
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
