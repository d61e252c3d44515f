"""Lines from pieces: whole, not too long, and nothing readable where they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.logs.pipe.lines import CUT_MARK, LONGEST, Lines, cut, mask, mask_last_word


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_pieces_become_the_same_lines_as_the_whole(pieces: list[bytes]) -> None:
    lines, found = Lines(), b""
    for piece in pieces:
        block = lines.feed(piece)
        assert block == b"" or block.endswith(b"\n")
        assert b"\n" not in lines.rest
        found += block
    whole = b"".join(pieces)
    assert found + lines.rest == whole
    assert found + lines.end() == whole + (b"" if whole.endswith(b"\n") or not whole else b"\n")
    assert lines.cut == 0


@given(st.integers(LONGEST - 2, LONGEST + 5), st.integers(1, 5))
def test_a_line_is_cut_at_the_limit_and_the_next_is_whole(length: int, pieces: int) -> None:
    stream = b"w " * (length // 2) + b"x" * (length % 2) + b"\nnext\n"
    lines, found = Lines(), b""
    step = len(stream) // pieces + 1
    for start in range(0, len(stream), step):
        found += lines.feed(stream[start : start + step])
    first, second = found.split(b"\n")[:2]
    assert second == b"next"
    assert (lines.cut == 1) == (length > LONGEST)
    assert len(first) == (length if length <= LONGEST else LONGEST + len(CUT_MARK))


def test_what_may_be_half_an_address_at_the_cut_is_masked() -> None:
    line = b"GET / " * 10_922 + b"203.0.113.77"
    assert len(line) == LONGEST + 8
    assert cut(line).endswith(b" / xxx." + CUT_MARK) or cut(line).endswith(b" xxxx" + CUT_MARK)
    assert b"203" not in cut(line)


def test_an_endless_word_is_masked_at_the_cut_and_takes_bounded_memory() -> None:
    lines = Lines()
    assert b"203" not in cut(b"203.0.113.77" * 6000)[-4096 - len(CUT_MARK) :]
    produced = sum(len(lines.feed(b"a" * 4096)) for _ in range(100))
    assert produced == LONGEST + len(CUT_MARK) + 1
    assert lines.rest == b""
    assert lines.feed(b"tail\nnext\n") == b"next\n"


@given(st.binary(max_size=300))
def test_a_blunt_mask_leaves_only_punctuation_and_the_number_of_lines(text: bytes) -> None:
    masked = mask(text)
    assert len(masked) == len(text)
    assert masked.count(b"\n") == text.count(b"\n")
    assert not any(chr(byte).isalnum() for byte in masked if byte != ord("x") and byte < 128)
    assert all(byte < 128 for byte in masked)


def test_only_the_last_word_is_masked() -> None:
    assert mask_last_word(b"from 203.0.113") == b"from xxx.x.xxx"
    assert mask_last_word(b"2001:db8:") == b"xxxx:xxx:"
    assert mask_last_word(b"from ") == b"from "
    assert mask_last_word(b"") == b""
