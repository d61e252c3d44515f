"""Memory that is used again."""

from __future__ import annotations

import os
from pathlib import Path

from agent.memory import Buffer, Room


def test_a_room_gives_the_same_buffer_empty_until_a_larger_one_is_wanted() -> None:
    room = Room()
    first = room.take("file", 100)
    first.append(memoryview(b"x" * 60))
    os.fstat(first.as_input())  # a child has read it: the file is as short as that now
    again = room.take("file", 80)
    assert again is first
    assert (again.length, again.capacity) == (0, 100)
    assert again.append(memoryview(b"y" * 100)) == 100
    assert room.take("other", 100) is not first
    assert room.take("file", 200) is not first
    room.drop()
    assert room.take("other", 1).capacity == 1


def test_what_is_written_through_the_file_is_seen_in_memory_and_never_more_than_fits() -> None:
    buffer = Buffer(10)
    assert buffer.write(memoryview(b"abcdef")) == 6
    assert buffer.append(memoryview(b"g")) == 1
    assert buffer.write(memoryview(b"hijklmn")) == 3
    assert bytes(buffer.view) == b"abcdefghij"
    assert os.fstat(buffer.as_input()).st_size == 10


def test_a_buffer_is_extended_piece_by_piece(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a" * 10 + b"b" * 10)
    buffer = Buffer(15)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert buffer.extend(lambda free: os.preadv(descriptor, [free[:10]], 0)) == 10
        assert buffer.extend(lambda free: os.preadv(descriptor, [free], buffer.length)) == 5
        assert buffer.extend(lambda free: os.preadv(descriptor, [free], buffer.length)) == 0
    finally:
        os.close(descriptor)
    assert buffer.full
    assert bytes(buffer.view) == b"a" * 10 + b"b" * 5
