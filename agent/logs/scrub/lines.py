"""Cuts a stream of reads into blocks of whole lines, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from agent.logs.scrub.report import Report

LONGEST_LINE = 64 << 10
BLOCK = 256 << 10
# No span of any rule holds one of these followed by the beginning of another span.
_BREAK = re.compile(rb'[ \t"]')
OVERLONG = b"overlong-removed"


def blocks_read(
    read_into: Callable[[memoryview], int],
    report: Report | None = None,
    *,
    longest: int = LONGEST_LINE,
) -> Iterator[bytes | memoryview]:
    """Yield the same as `blocks` of what is read into memory, without copying it.

    What is yielded is good until the next one is asked for. `read_into` returns how many bytes it
    has put at the beginning of the memory, 0 at the end of the stream.
    """
    buffer = bytearray(longest + BLOCK)
    view = memoryview(buffer)
    held = 0
    while read := read_into(view[held : held + BLOCK]):
        filled = held + read
        end = buffer.rfind(b"\n", held, filled) + 1
        if filled - end > longest or (end > longest and _too_long(buffer, end, longest)):
            # from here on in the way that can cut lines
            reads = chain((bytes(view[:filled]),), _reads(read_into))
            yield from blocks(reads, report, longest=longest)
            return
        if end:
            yield view[:end]
        held = filled - end
        buffer[:held] = buffer[end:filled]
    if held:
        yield view[:held]


def _reads(read_into: Callable[[memoryview], int]) -> Iterator[bytes]:
    memory = memoryview(bytearray(BLOCK))
    while read := read_into(memory):
        yield bytes(memory[:read])


def blocks(
    reads: Iterable[bytes], report: Report | None = None, *, longest: int = LONGEST_LINE
) -> Iterator[bytes]:
    """Yield blocks of whole lines; only the last may lack its newline.

    A line longer than `longest` bytes is cut after a blank, a tab or a quotation mark, which lie
    in no span; a single word that is longer than that, which no honest line holds, is replaced by
    `overlong-removed` and counted in `report`. At most one read and one line are held.
    """
    rest = b""
    skipping = False
    for read in reads:
        data = rest + read
        if skipping:
            found = _end_of_word(data, 0)
            if found < 0:
                rest = b""
                continue
            data, skipping = data[found:], False
        end = data.rfind(b"\n") + 1
        block, rest = data[:end], data[end:]
        if block:
            yield from _short(block, longest, report)
        if len(rest) > longest:
            *pieces, rest = _pieces(rest, longest, report)
            yield from pieces
            if len(rest) > longest:  # one word, and it goes on
                skipping, rest = True, b""
                if report is not None:
                    report.count("overlong")
                yield OVERLONG
    if rest:
        yield rest


def _short(block: bytes, longest: int, report: Report | None) -> Iterator[bytes]:
    if len(block) <= longest or not _too_long(block, len(block), longest):
        yield block
        return
    for line in _lines(block):
        if len(line) <= longest + 1:
            yield line
            continue
        *pieces, last = _pieces(line, longest, report)
        yield from pieces
        if len(last) > longest + 1:
            if report is not None:
                report.count("overlong")
            last = OVERLONG + b"\n"
        yield last


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block[:-1].split(b"\n")]


def _too_long(block: bytes | bytearray, length: int, longest: int) -> bool:
    begin = 0
    while length - begin > longest:
        end = block.rfind(b"\n", begin, begin + longest + 1)
        if end < 0:
            return True
        begin = end + 1
    return False


def _end_of_word(data: bytes, begin: int) -> int:
    """Return where a word ends: at a break or at the line's end; -1 if it goes on."""
    found = _BREAK.search(data, begin)
    newline = data.find(b"\n", begin)
    if found is None:
        return newline
    return found.start() if newline < 0 else min(found.start(), newline)


def _pieces(line: bytes, longest: int, report: Report | None) -> list[bytes]:
    """Return a long line in pieces; the last may still be too long if it is one word."""
    pieces = []
    while len(line) > longest:
        cut = max(line.rfind(mark, 0, longest) for mark in (b" ", b"\t", b'"')) + 1
        if cut:
            pieces.append(line[:cut])
            line = line[cut:]
            continue
        end = _end_of_word(line, longest)
        if end < 0 or line[end : end + 1] == b"\n":
            break
        if report is not None:
            report.count("overlong")
        pieces.append(OVERLONG)
        line = line[end:]
    return [*pieces, line]
