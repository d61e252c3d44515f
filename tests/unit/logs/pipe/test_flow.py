"""From a source to an output: counted, scrubbed whatever happens, told once."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from agent.logs.pipe.flow import Flow
from agent.logs.pipe.sockets import Queue
from agent.logs.pipe.sources import Received, Watch
from agent.logs.pipe.syslog import Head

RAW = b"from 203.0.113.77 to jane.roe@example.com\n"


class Truncates:
    """A scrubber of the tests' own: addresses lose their last part."""

    def __init__(self, *, fast: bool = True) -> None:
        self.fast = fast

    def scrub(self, block: bytes) -> bytes:
        return re.sub(rb"(\d+\.\d+\.\d+)\.\d+", rb"\1.0", block)


class Fails(Truncates):
    def scrub(self, block: bytes) -> bytes:
        raise ValueError(f"cannot scrub {block!r}")


@dataclass
class Blocks:
    """A source that has blocks to give."""

    blocks: list[bytes]
    used: int | None = None
    cut: int = 0
    until_end: bool = False
    again: float | None = None
    done: int = 0

    @property
    def finished(self) -> bool:
        return not self.blocks

    def begin(self, watch: Watch) -> None: ...

    def receive(self, descriptor: int, hung_up: bool) -> Received:
        return Received(self.blocks.pop(0) if self.blocks else b"")

    def written(self) -> None:
        self.done += 1

    def stop(self, *, now: bool) -> None: ...

    def queue(self) -> Queue | None:
        return None if self.used is None else Queue(self.used, 1000, 7)


@dataclass
class Memory:
    """An output that keeps what it gets; `fails` is how often it has no room."""

    name: str = "memory"
    wants_heads: bool = False
    text: bytes = b""
    heads: list[Head] = field(default_factory=list)
    fails: int = 0
    left: bytes = b""

    def offer(self, block: bytes, heads: Sequence[Head] | None) -> None:
        assert not self.left
        self.left = block
        self.heads += heads or []

    def flush(self) -> None:
        if self.left and self.fails:
            self.fails -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self.text, self.left = self.text + self.left, b""

    @property
    def pending(self) -> int:
        return self.left.count(b"\n")

    def reopen(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().err


def test_lines_are_seen_raw_by_the_scan_and_written_scrubbed() -> None:
    seen: list[bytes] = []
    flow = Flow("a", Blocks([RAW * 3]), Memory(), Truncates(), observe=seen.append)
    flow.receive(0, hung_up=False)
    assert seen == [RAW * 3]
    assert isinstance(flow.output, Memory)
    assert flow.output.text == RAW.replace(b".77", b".0") * 3
    assert (flow.counts.received, flow.counts.written) == (3, 3)


def test_a_scrubber_that_fails_masks_bluntly_and_says_so_once(said: Callable[[], str]) -> None:
    output = Memory()
    flow = Flow("a", Blocks([RAW, RAW * 2]), output, Fails())
    flow.receive(0, hung_up=False)
    flow.receive(0, hung_up=False)
    assert output.text == b"xxxx xxx.x.xxx.xx xx xxxx.xxx@xxxxxxx.xxx\n" * 3
    assert flow.counts.masked_bluntly == 3
    told = said()
    assert told.count("masked bluntly") == 1
    assert "203.0.113" not in told
    assert flow.counts.worrying()


def test_without_the_kernel_a_queue_that_fills_is_masked_bluntly_until_it_is_empty() -> None:
    source, output = Blocks([RAW] * 5, used=0), Memory()
    flow = Flow("a", source, output, Truncates(fast=False))
    for used in (400, 600, 300, 50, 400):
        source.used = used
        flow.receive(0, hung_up=False)
    blunt = [b"xxx" in line for line in output.text.splitlines()]
    assert blunt == [False, True, True, False, False]
    assert flow.counts.masked_bluntly == 2


def test_with_the_kernel_or_with_senders_that_wait_nothing_is_masked_bluntly() -> None:
    for source, fast in ((Blocks([RAW], used=999), True), (Blocks([RAW]), False)):
        output = Memory()
        Flow("a", source, output, Truncates(fast=fast)).receive(0, hung_up=False)
        assert output.text == RAW.replace(b".77", b".0")


def test_a_full_disk_is_told_once_and_the_block_is_written_later(said: Callable[[], str]) -> None:
    source, output = Blocks([RAW]), Memory(fails=3)
    flow = Flow("a", source, output, Truncates())
    assert flow.receive(0, hung_up=False) is False
    assert flow.data()["stalled"] is True
    assert source.done == 0
    before = flow.finished
    assert before is False
    assert [flow.flush() for _ in range(3)] == [False, False, True]
    assert source.done == 1
    assert flow.finished
    assert (flow.counts.received, flow.counts.written) == (1, 1)
    told = said()
    assert told.count("no space left on device") == 1
    assert told.count("written again") == 1


def test_what_cannot_be_written_at_the_end_is_an_error_with_its_number() -> None:
    flow = Flow("a", Blocks([RAW * 4]), Memory(fails=9), Truncates())
    flow.receive(0, hung_up=False)
    flow.end()
    failure = flow.failure()
    assert failure is not None
    assert failure.sentence.startswith("4 lines of the pipe `a` could not be written")
    assert flow.counts.written == 0


def test_drops_are_told_when_they_grow_and_not_again(said: Callable[[], str]) -> None:
    flow = Flow("a", Blocks([RAW], used=0), Memory(), Truncates())
    flow.update()
    flow.update()
    assert said().count("7 datagrams dropped by the kernel") == 1
    assert flow.counts.dropped == 7


def test_a_journal_gets_the_heads_scrubbed_too() -> None:
    output = Memory(wants_heads=True)
    block = b"<38>Nov 24 06:00:00 203.0.113.77: a\n<38>Nov 24 06:00:00 sshd[1]: 203.0.113.77\n"
    flow = Flow("a", Blocks([block]), output, Truncates(), framing="syslog")
    flow.receive(0, hung_up=False)
    assert output.text == b"a\n203.0.113.0\n"
    assert output.heads == [Head(38, b"203.0.113.0", b""), Head(38, b"sshd", b"1")]


def test_malformed_records_are_counted_and_kept() -> None:
    output = Memory()
    flow = Flow("a", Blocks([b"<13>Nov 24 06:00:00 a: b\nrubbish\n"]), output, Truncates())
    flow.framing = "syslog"
    flow.receive(0, hung_up=False)
    assert output.text == b"b\nrubbish\n"
    assert flow.counts.malformed == 1
    assert "1 malformed" in flow.summary()


def test_each_line_is_confirmed_after_it_is_written() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        output = Memory(fails=1)
        flow = Flow("a", Blocks([RAW * 2]), output, Truncates(), confirm=theirs.fileno())
        flow.receive(0, hung_up=False)
        with pytest.raises(BlockingIOError):
            ours.recv(10)
        flow.flush()
        assert ours.recv(10) == b"OK\nOK\n"
