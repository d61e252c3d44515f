"""From segments to plaintext, by the program and by the module: one whole frame, or an error."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import compression
from agent.backup.plaintext import Plaintext
from agent.errors import Art32Error, Code
from tests.fixtures.own import children

PLAIN = os.urandom(300_000) + b"text " * 400_000 + os.urandom(100_000)


def frame(data: bytes) -> bytes:
    made = compression.Compressor()
    return made.compress(data) + made.flush()


WHOLE = frame(PLAIN)


def cut(data: bytes, size: int = 50_000) -> Generator[memoryview, None, None]:
    """Yield segments in one buffer, as they come: each is there until the next is asked for."""
    buffer = bytearray(size)
    for begin in range(0, len(data), size):
        piece = data[begin : begin + size]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
    buffer[:] = bytes(size)


@pytest.fixture(params=["program", "module"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "module":
        monkeypatch.setattr("agent.backup.plaintext.shutil.which", lambda *_, **__: None)
    return str(request.param)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    threads = threading.active_count()
    yield
    assert threading.active_count() <= threads
    assert "zstd" not in children().values()


def expand(data: bytes, *, size: int = len(PLAIN)) -> bytes:
    with Plaintext(cut(data), size=size) as stream:
        return b"".join(stream)


def poured(data: bytes, descriptor: int, *, size: int = len(PLAIN)) -> int:
    with Plaintext(cut(data), size=size) as stream:
        stream.pour(descriptor)
        return stream.count


def refused(data: bytes, *, size: int = len(PLAIN)) -> str:
    with open(os.devnull, "wb") as nowhere:
        sentences = []
        ways: Sequence[Callable[[], object]] = (
            lambda: expand(data, size=size),
            lambda: poured(data, nowhere.fileno(), size=size),
        )
        for attempt in ways:
            with pytest.raises(Art32Error) as caught:
                attempt()
            assert caught.value.code is Code.CORRUPT
            sentences.append(caught.value.sentence)
    assert len(set(sentences)) == 1
    return sentences[0]


def test_it_comes_back_in_pieces_of_a_mebibyte_at_most() -> None:
    with Plaintext(cut(WHOLE), size=len(PLAIN)) as stream:
        pieces = list(stream)
        assert stream.count == len(PLAIN)
    assert b"".join(pieces) == PLAIN
    assert max(map(len, pieces)) <= compression.OUTPUT


def test_an_empty_stream_is_a_frame_too() -> None:
    assert expand(frame(b""), size=0) == b""


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_it_is_poured_into_a_file(tmp_path: Path, mode: str) -> None:
    """A file opened to append takes no splice(2)."""
    with (tmp_path / "out").open(mode) as out:
        assert poured(WHOLE, out.fileno()) == len(PLAIN)
    assert (tmp_path / "out").read_bytes() == PLAIN


def test_it_is_poured_into_a_program_also_after_a_part_was_read() -> None:
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
        Plaintext(cut(WHOLE), size=len(PLAIN)) as stream,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        begin = next(stream)
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(child.stdout.read()))  # type: ignore[union-attr]
        reader.start()
        stream.pour(child.stdin.fileno())
        child.stdin.close()
        reader.join()
    assert begin + read[0] == PLAIN


def test_after_a_reader_is_gone_the_rest_can_still_be_read_and_verified() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Plaintext(cut(WHOLE), size=len(PLAIN)) as stream:
        with pytest.raises(BrokenPipeError):
            stream.pour(writing)
        for _ in stream:
            pass
        assert stream.count == len(PLAIN)
    os.close(writing)


def test_a_cut_frame_is_refused() -> None:
    for end in [0, 1, 3, 4, 5, 9, *range(10, len(WHOLE), 40_000), len(WHOLE) - 4, len(WHOLE) - 1]:
        assert "too early" in refused(WHOLE[:end])


@pytest.mark.parametrize("more", [b"\0", b"garbage" * 1000, WHOLE, frame(b""), b"\x50\x2a\x4d\x18"])
def test_what_follows_the_frame_is_refused(more: bytes) -> None:
    assert "goes on after its end" in refused(WHOLE + more)


@pytest.mark.parametrize(
    "wrong",
    [
        b"x" * 100,
        b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(50),
        b"\x50\x2a\x4d\x18\4\0\0\0skip" + WHOLE,
    ],
    ids=["text", "gzip", "a skippable frame first"],
)
def test_what_is_no_frame_is_refused(wrong: bytes) -> None:
    refused(wrong)


def test_a_bit_flipped_anywhere_never_gives_other_data() -> None:
    wrong = 0
    for position in [
        *range(12),
        *range(12, len(WHOLE), 30_011),
        *range(len(WHOLE) - 4, len(WHOLE)),
    ]:
        changed = bytearray(WHOLE)
        changed[position] ^= 0x20
        try:
            assert expand(bytes(changed)) == PLAIN  # a larger window, and nothing else, passes
        except Art32Error as error:
            assert error.code is Code.CORRUPT  # noqa: PT017
            wrong += 1
    assert wrong > 20


@pytest.mark.parametrize("size", [0, len(PLAIN) - 1, len(PLAIN) + 1])
def test_another_length_than_was_signed_is_refused(size: int) -> None:
    assert "another length" in refused(WHOLE, size=size)


@pytest.mark.parametrize("whole", [True, False])
def test_what_the_segments_raise_is_raised_and_is_no_end(whole: bool) -> None:
    """Even when all of the frame has come by then."""

    def failing() -> Generator[memoryview, None, None]:
        yield from cut(WHOLE if whole else WHOLE[:200_000])
        raise Art32Error(Code.OBJECT_MISSING, "segment 3 is not there")

    with Plaintext(failing(), size=len(PLAIN)) as stream, pytest.raises(Art32Error) as caught:
        for _ in stream:
            pass
    assert caught.value.code is Code.OBJECT_MISSING


def test_nothing_is_fetched_before_it_is_wanted_and_leaving_early_ends_the_fetching() -> None:
    fetched: list[int] = []
    ended = threading.Event()

    def counted() -> Generator[memoryview, None, None]:
        try:
            for number, segment in enumerate(cut(WHOLE, 10_000)):
                fetched.append(number)
                yield segment
        finally:
            ended.set()

    with Plaintext(counted(), size=len(PLAIN)):
        pass
    assert fetched == []
    with Plaintext(counted(), size=len(PLAIN)) as stream:
        assert next(stream)
    assert ended.wait(10)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=5000), st.lists(st.integers(1, 900), max_size=10), st.binary(max_size=3))
def test_a_frame_is_followed_however_it_is_cut(data: bytes, sizes: list[int], more: bytes) -> None:
    whole = frame(data)
    follower = compression.Frame()
    rest = whole + more
    try:
        for size in sizes:
            follower.follow(memoryview(rest[:size]))
            rest = rest[size:]
        follower.follow(memoryview(rest))
        follower.require_end()
    except Art32Error:
        assert more
    else:
        assert not more
    for end in range(len(whole)):
        follower = compression.Frame()
        follower.follow(memoryview(whole[:end]))
        with pytest.raises(Art32Error, match="too early"):
            follower.require_end()
