"""The loop: no writer is left waiting, nothing is left in a pipe, no time is spent on nothing."""

from __future__ import annotations

import os
import threading

import pytest

from agent.logs.pipe.flow import Flow
from agent.logs.pipe.pipes import Pipe
from agent.logs.pipe.serve import Loop
from tests.unit.logs.pipe.test_flow import Memory


class Leaves:
    """A scrubber that leaves everything, and takes no time."""

    fast = True

    def scrub(self, block: bytes) -> bytes:
        return block


def written(descriptor: int, data: bytes) -> threading.Thread:
    """Write all in one call, which sleeps whenever the pipe is full."""

    def write() -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.close(descriptor)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("length", [333, 70_000])
def test_a_writer_that_fills_the_pipe_many_times_is_taken_to_its_end(length: int) -> None:
    """The kernel wakes nobody when a writer fills a pipe that was not empty, and sleeps."""
    reading, writing = os.pipe()
    line = b"x" * (length - 1) + b"\n"
    count = 8_000_000 // length
    output = Memory()
    source = Pipe(reading, until_end=True)
    flow = Flow("a", source, output, Leaves())
    thread = written(writing, line * count)
    Loop([flow], state=None).run()
    thread.join()
    os.close(reading)
    assert flow.counts.received == flow.counts.written == count
    if length <= 65536:
        assert output.text == line * count
    else:
        assert source.cut == count


def test_half_a_line_stays_in_the_pipe_and_is_looked_at_less_and_less_often() -> None:
    reading, writing = os.pipe()
    source = Pipe(reading, until_end=True)
    os.write(writing, b"whole\nhalf")
    assert source.receive(reading, hung_up=False).block == b"whole\n"
    source.written()
    waits = []
    for _ in range(12):
        assert source.receive(reading, hung_up=False).block == b""
        waits.append(source.again)
    assert waits[0] == 0.005
    assert waits == sorted(waits)  # type: ignore[type-var]
    assert waits[-1] == 1.0
    os.write(writing, b" a line\n")
    assert source.receive(reading, hung_up=False).block == b"half a line\n"
    assert source.again is None
    source.written()
    os.close(writing)
    source.receive(reading, hung_up=True)
    assert source.finished
    os.close(reading)
