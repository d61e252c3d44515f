"""Blocks of whole lines from reads of any size, in bounded memory."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agent.logs.scrub import Report, lines

STREAMS = st.lists(
    st.sampled_from([b"a", b"1.2.3.4", b" ", b'"', b"\n", b"\r\n", b"x" * 17, b"\xff"]), max_size=60
).map(b"".join)


@given(STREAMS, st.lists(st.integers(1, 40), min_size=1))
def test_blocks_are_the_stream_again_and_end_with_a_newline(
    stream: bytes, sizes: list[int]
) -> None:
    report = Report()
    blocks = list(lines.blocks(cut(stream, sizes), report, longest=1000))
    assert b"".join(blocks) == stream
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert report.kinds == {}


@given(STREAMS, st.lists(st.integers(1, 40), min_size=1))
def test_a_long_line_is_cut_where_no_span_can_be(stream: bytes, sizes: list[int]) -> None:
    report = Report()
    blocks = list(lines.blocks(cut(stream, sizes), report, longest=12))
    whole = b"".join(blocks)
    if not report.kinds:
        assert whole == stream
    else:
        assert whole.count(lines.OVERLONG) == report.kinds["overlong"]
    assert whole.count(b"\n") == stream.count(b"\n")
    for before, after in itertools.pairwise(blocks):
        safe = (b"\n", b" ", b'"', b"\t", b"overlong-removed")
        assert before.endswith(safe) or after.startswith(safe)


def test_a_word_without_an_end_is_removed_and_counted_once_in_bounded_memory() -> None:
    report = Report()
    reads = [b"begin "] + [b"203.0.113.77" * 1000] * 500 + [b" end\nnext\n"]
    blocks = list(lines.blocks(reads, report))
    assert b"".join(blocks) == b"begin overlong-removed end\nnext\n"
    assert report.kinds == {"overlong": 1}
    assert max(map(len, blocks)) < 100


@given(STREAMS, st.lists(st.integers(1, 40), min_size=1), st.sampled_from([12, 1000]))
def test_what_is_read_into_memory_is_cut_in_the_same_way(
    stream: bytes, sizes: list[int], longest: int
) -> None:
    reads = iter(cut(stream, sizes))

    def read_into(memory: memoryview) -> int:
        read = next(reads, b"")
        memory[: len(read)] = read
        return len(read)

    report, expected = Report(), Report()
    blocks = [bytes(block) for block in lines.blocks_read(read_into, report, longest=longest)]
    wanted = lines.blocks(cut(stream, sizes), expected, longest=longest)
    assert b"".join(blocks) == b"".join(wanted)
    assert report.kinds == expected.kinds


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    reads, position, index = [], 0, 0
    while position < len(stream):
        size = sizes[index % len(sizes)]
        reads.append(stream[position : position + size])
        position += size
        index += 1
    return reads
