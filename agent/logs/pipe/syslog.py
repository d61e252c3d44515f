"""Syslog as it comes: RFC 3164 and what daemons make of it, RFC 5424, and RFC 6587 on streams.

All functions take blocks of whole records, one a line. What is no syslog is kept as it is: a
parser that throws away what it does not understand would lose what an attacker has sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.logs.pipe.lines import LONGEST, Lines, cut

_PRIORITY = rb"<\d{1,3}>"
_MONTHS = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_LEGACY_TIME = _MONTHS + rb" [ \d]\d \d\d:\d\d:\d\d"
_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.,:+Z-]{0,24}"
_ELEMENT = rb'\[(?>[^\]"\n]*)(?>"(?>(?:[^"\\\n]|\\.)*)"[^\]"\n]*)*\]'
# RFC 5424, 6: version, time, host, program, process, message id, structured data, message
_NEW = (
    rb"1 (?:-|" + _TIME + rb") (?P<new_host>[^ \n]+) (?P<program>[^ \n]+) (?P<process>[^ \n]+) "
    rb"[^ \n]+ (?:-|(?:" + _ELEMENT + rb")+)(?: |(?=\n))(?:\xef\xbb\xbf)?"
)
# RFC 3164, 4.1: time, host, tag; nginx, HAProxy and libc leave the host out
_OLD = (
    rb"(?:" + _LEGACY_TIME + rb"|" + _TIME + rb") (?P<old_host>[^ \n]*[^ \n:] )??"
    rb"(?P<tag>[^ \n:\[<>]{1,64})(?:\[(?P<id>[^\] \n]{0,64})\])?:(?: |(?=\n))"
)
_HEADER = re.compile(rb"^" + _PRIORITY + rb"(?:" + _NEW + rb"|" + _OLD + rb")", re.M)
_BARE = re.compile(rb"^" + _PRIORITY + rb"(?:1 (?=-|\d{4}-))?", re.M)
_PARTS = re.compile(
    rb"(?:<(?P<priority>\d{1,3})>)?(?:" + _NEW + rb"|" + _OLD + rb")?(?P<text>[^\n]*)\n"
)
_COUNT = re.compile(rb"([1-9]\d{0,6}) (?=<)")
_PERHAPS_COUNT = re.compile(rb"[1-9]\d{0,6} ?")
_MOST_PRIORITY = 191  # RFC 5424, 6.2.1: facility 23, severity 7
_UNKNOWN_PRIORITY = 13  # RFC 3164, 4.3.3: user.notice


@dataclass(frozen=True)
class Head:
    """What a header says, for journald: `priority` (0 to 191), program, process id."""

    priority: int
    program: bytes
    process: bytes


def without_headers(block: bytes) -> tuple[bytes, int]:
    """Return the messages alone, and how many records had no header that is known.

    Such a record is kept whole; it loses its `<number>` where it has one.
    """
    text, known = _HEADER.subn(b"", block)
    unknown = text.count(b"\n") - known
    if unknown:  # by line: a message may begin like a number itself
        lines = [
            line[found.end() :] if (found := _HEADER.match(line) or _BARE.match(line)) else line
            for line in _lines(block)
        ]
        text = b"".join(lines)
    return text, unknown


def _lines(block: bytes) -> list[bytes]:
    return [line + b"\n" for line in block.split(b"\n")[:-1]]


def without_priorities(block: bytes) -> tuple[bytes, int]:
    """Return the records without `<number>`, and how many had none."""
    text, known = _BARE.subn(b"", block)
    return text, text.count(b"\n") - known


def heads(block: bytes) -> tuple[list[Head], bytes, int]:
    """Return each record's header, the messages alone, and how many records had no header."""
    found, texts, unknown = [], [], 0
    for match in _PARTS.finditer(block):
        priority = int(match["priority"] or _UNKNOWN_PRIORITY)
        program = match["program"] or match["tag"] or b""
        known = match["priority"] and program
        unknown += not known
        found.append(
            Head(
                priority if priority <= _MOST_PRIORITY else _UNKNOWN_PRIORITY,
                program,
                match["process"] or match["id"] or b"",
            )
        )
        texts.append(match["text"])
    return found, b"".join(text + b"\n" for text in texts), unknown


def one_line(record: bytes) -> bytes:
    """Return a record as one line: what it holds must not look like two.

    A newline becomes `\\x0A`, as nginx writes it.
    """
    return record.replace(b"\n", b"\\x0A")


class Frames:
    """Takes one connection's stream apart into lines.

    Records are octet-counted (RFC 6587, 3.4.1) or end in a newline (3.4.2) or, from glibc, in NUL.
    The first record shows which; a sender does not change. `cut` counts records too long.
    """

    def __init__(self) -> None:
        self._lines: Lines | None = None
        self._counted = False
        self._rest = b""
        self._skip = 0
        self._cut = 0

    @property
    def cut(self) -> int:
        return self._cut + (self._lines.cut if self._lines else 0)

    def feed(self, data: bytes) -> bytes:
        """Return the whole records up to here, one a line; keep the rest."""
        if not data:
            return b""
        if self._lines is None and not self._counted:
            self._rest = data = self._rest + data
            if _COUNT.match(data):
                self._counted, self._rest = True, b""
            elif _PERHAPS_COUNT.fullmatch(data):
                return b""
            else:
                self._lines, self._rest = Lines(), b""
        if self._lines is not None:
            return self._lines.feed(_newlines(data))
        return self._counted_records(data)

    def end(self) -> bytes:
        """Return the record in the middle of which the stream has ended."""
        if self._lines is not None:
            return self._lines.end()
        rest, self._rest = self._rest, b""
        rest = _COUNT.sub(b"", rest, count=1)
        return one_line(rest.rstrip(b"\n\0")) + b"\n" if rest else b""

    def _counted_records(self, data: bytes) -> bytes:
        dropped = min(self._skip, len(data))
        self._skip -= dropped
        data = self._rest + data[dropped:]
        records = []
        position = 0
        while count := _COUNT.match(data, position):
            start, length = count.end(), int(count[1])
            taken = min(length, LONGEST + 1)
            if start + taken > len(data):
                break
            record = data[start : start + taken]
            if length > LONGEST:
                self._cut += 1
                record = cut(record)
            records.append(one_line(record.rstrip(b"\n\0")) + b"\n")
            position = min(start + length, len(data))
            self._skip = start + length - position
        else:
            if position < len(data) and not _PERHAPS_COUNT.fullmatch(data, position):
                # no count where one must be: from here on only newlines are left to go by
                self._counted, self._lines = False, Lines()
                return b"".join(records) + self._lines.feed(_newlines(data[position:]))
        self._rest = data[position:]
        return b"".join(records)


def _newlines(data: bytes) -> bytes:
    """Return a stream whose records all end in a newline; glibc ends them with NUL."""
    if b"\0" not in data:
        return data
    return data.replace(b"\n\0", b"\n").replace(b"\0", b"\n")
