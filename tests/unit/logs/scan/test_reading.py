"""Logs are read in blocks of whole lines; the rest of a line that is too long is no line."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from agent.logs.scan.reading import blocks

LINES = st.lists(st.integers(0, 40), max_size=30)


class Dribble(io.RawIOBase):
    """Gives as many bytes at a time as it is told to."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = io.BytesIO(data), sizes

    def readinto(self, memory: memoryview) -> int:  # type: ignore[override]
        size = self._sizes.pop() if self._sizes else len(memory)
        return self._data.readinto(memory[:size])


@given(lengths=LINES, sizes=st.lists(st.integers(1, 16), max_size=60), ended=st.booleans())
def test_every_byte_comes_once_at_its_offset_but_for_the_rest_of_long_lines(
    lengths: list[int], sizes: list[int], ended: bool
) -> None:
    lines = [bytes([97 + number % 26]) * length for number, length in enumerate(lengths)]
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    size = 16
    told = [(offset, bytes(block)) for offset, block in blocks(Dribble(data, sizes), size=size)]
    for offset, block in told:
        assert data[offset : offset + len(block)] == block
        assert offset == 0 or data[offset - 1 : offset] == b"\n"
    got = b"".join(
        block if block.endswith(b"\n") else block + b"\n" for _, block in told
    ).split(b"\n")  # fmt: skip
    wanted = [*data.removesuffix(b"\n").split(b"\n"), b""] if data else [b""]
    assert len(got) == len(wanted)
    for one, whole in zip(got, wanted, strict=True):
        assert whole.startswith(one)
        assert len(one) >= min(len(whole), size - 1)
