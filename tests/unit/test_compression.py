"""One frame, whole, with its checksum: anything else is refused, however much it would expand."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import compression
from agent.errors import Art32Error, Code

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN = os.urandom(50_000) * 6


def frame(data: bytes) -> bytes:
    made = compression.Compressor()
    return made.compress(data) + made.flush()


def expand(*chunks: bytes) -> bytes:
    return b"".join(compression.decompress(iter(chunks)))


def refused(*chunks: bytes) -> str:
    with pytest.raises(Art32Error) as caught:
        expand(*chunks)
    assert caught.value.code is Code.CORRUPT
    return caught.value.sentence


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=5000), st.lists(st.integers(1, 900), max_size=10))
def test_a_frame_comes_back_however_it_is_cut(data: bytes, sizes: list[int]) -> None:
    whole, chunks = frame(data), []
    rest = whole
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert expand(*chunks, rest, b"") == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: type) -> None:
    assert b"".join(compression.decompress(iter([kind(frame(PLAIN))]))) == PLAIN


def test_the_zstd_program_reads_it_and_finds_a_checksum() -> None:
    done = subprocess.run(["zstd", "-dc"], input=frame(PLAIN), capture_output=True, check=True)
    assert done.stdout == PLAIN
    assert frame(PLAIN)[4] & 4, "no checksum flag in the frame header"


def test_a_frame_cut_at_any_kibibyte_is_refused() -> None:
    whole = frame(PLAIN)
    for cut in [0, 1, 3, 4, 5, *range(6, len(whole), 1024), len(whole) - 5, len(whole) - 1]:
        assert "too early" in refused(whole[:cut])
    refused()


def test_a_bit_flipped_anywhere_never_gives_other_data() -> None:
    whole = frame(PLAIN)
    wrong = 0
    for position in [*range(12), *range(12, len(whole), 997), *range(len(whole) - 4, len(whole))]:
        changed = bytearray(whole)
        changed[position] ^= 0x20
        try:
            assert expand(bytes(changed)) == PLAIN  # a larger window, and nothing else, passes
        except Art32Error as error:
            assert error.code is Code.CORRUPT  # noqa: PT017
            wrong += 1
    assert wrong > len(whole) // 997


@pytest.mark.parametrize("more", [b"\0", b"x", b"garbage" * 1000])
def test_what_follows_the_frame_is_refused(more: bytes) -> None:
    for chunks in ((frame(PLAIN) + more,), (frame(PLAIN), more), (frame(PLAIN), b"", more)):
        assert "goes on after its end" in refused(*chunks)


def test_a_second_frame_is_refused() -> None:
    assert "goes on" in refused(frame(PLAIN) + frame(PLAIN))
    assert "goes on" in refused(frame(b""), frame(b""))
    assert "goes on" in refused(frame(PLAIN) + b"\x50\x2a\x4d\x18\x04\0\0\0skip")
    assert "goes on" in refused(b"\x50\x2a\x4d\x18\x04\0\0\0skip" + frame(PLAIN))


@given(st.binary(min_size=1, max_size=300))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    refused(data)


def test_a_frame_that_needs_too_large_a_window_is_refused() -> None:
    parameter = zstd.CompressionParameter
    made = zstd.ZstdCompressor(
        options={parameter.window_log: 28, parameter.enable_long_distance_matching: 1}
    )
    refused(made.compress(b"x" * 1000) + made.flush())


def _bomb() -> Iterator[bytes]:
    made = compression.Compressor()
    for _ in range(1024):
        if piece := made.compress(bytes(1 << 20)):
            yield piece
    yield made.flush()


def test_a_gibibyte_of_zeros_expands_a_mebibyte_at_a_time() -> None:
    bomb = b"".join(_bomb())
    assert len(bomb) < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    largest = total = 0
    for chunk in compression.decompress(iter([bomb])):
        largest, total = max(largest, len(chunk)), total + len(chunk)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert total == 1 << 30
    assert largest <= compression.OUTPUT
    assert after - before < 64 << 10, "KiB more at the peak"


def test_the_level_is_the_higher_one_only_where_that_saves_room() -> None:
    source = "\n".join(path.read_text() for path in Path(compression.__file__).parent.glob("*.py"))
    assert compression.level(source.encode() * 3) == max(compression.LEVELS)
    for data in (os.urandom(1 << 20), bytes(1 << 20), b"", frame(source.encode())):
        assert compression.level(data) == min(compression.LEVELS)


@pytest.mark.parametrize("size", [0, 1, compression.SAMPLE - 1, compression.SAMPLE, 9 << 20])
def test_what_is_looked_at_first_is_compressed_like_the_rest(size: int) -> None:
    data = (os.urandom(1000) + bytes(7000)) * (size // 8000 + 1)
    made = compression.Compressor()
    pieces = [made.compress(data[at : min(at + 700_000, size)]) for at in range(0, size, 700_000)]
    assert expand(b"".join(pieces) + made.flush()) == data[:size]
