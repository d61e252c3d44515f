"""The specification as code: slow, linear, and what the kernel must agree with byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import rules as order
from agent.logs.scrub.found import Finder, Form, Found, Rules
from agent.logs.scrub.keys import PeriodKey
from agent.logs.scrub.replacement import replacer
from agent.logs.scrub.report import Report
from agent.logs.scrub.text import Text, decode

_SPARED = (Form.EXEMPT, Form.WALL)
_CUT = re.compile(
    rb"(?:(?<![0-9A-Fa-f:])[0-9A-Fa-f]*+:[0-9A-Fa-f:]++"
    rb"|(?<![0-9.])[0-9]{1,3}\.(?:[0-9]{1,3}\.){0,2}[0-9]{0,3})\Z"
)
_TWO_GROUPS = re.compile(rb"[0-9A-Fa-f]:+[0-9A-Fa-f]|[0-9A-Fa-f]+::?\Z")


class ReferenceScrubber:
    """Scrubs by the rules as they are written; see `agent.logs.scrub.Scrubber`."""

    engine = "reference"

    def __init__(self, settings: Scrub, rules: Rules, key: PeriodKey | None) -> None:
        self.report = Report()
        self._rules = rules
        self._replace = replacer(settings, key)

    def scrub(self, block: bytes) -> bytes:
        """Return a block of whole lines without what the rules find; count it in the report."""
        lines = block.split(b"\n")
        scrubbed = b"\n".join([self._line(line) for line in lines])
        self.report.lines += len(lines) - (lines[-1] == b"")
        self.report.bytes_in += len(block)
        self.report.bytes_out += len(scrubbed)
        return scrubbed

    def _line(self, line: bytes) -> bytes:
        if not line:
            return line
        pieces = []
        end = 0
        for found in find(line, self._rules):
            self.report.count(found.kind)
            if found.form is not Form.EXEMPT:
                pieces += [line[end : found.start], self._replace(found)]
                end = found.end
        if not end:
            return line
        pieces.append(line[end:])
        return b"".join(pieces)


def find(line: bytes, rules: Rules) -> list[Found]:
    """Return what the rules find in one line, in its order, with places in the line itself."""
    text = decode(line)
    found = _apply(order.ORDER, text, [], rules)
    if rules.cut_length is not None and len(line) >= rules.cut_length:
        found += _cut(text, found)
    placed = [_placed(each, text) for each in found]
    if isinstance(text.source, list):
        placed = _apply(order.RAW, Text(line, range(len(line) + 1)), placed, rules)
    return sorted((each for each in placed if each.kind), key=lambda each: each.start)


def _apply(finders: Iterable[Finder], text: Text, walls: list[Found], rules: Rules) -> list[Found]:
    found = sorted(walls, key=lambda each: each.start)
    for finder in finders:
        new = [each for gap in _gaps(text, found) for each in _in_gap(finder, gap, rules)]
        if new:
            found = sorted(found + new, key=lambda each: each.start)
    return found


def _in_gap(finder: Finder, gap: tuple[int, Text], rules: Rules) -> list[Found]:
    offset, text = gap
    return [each.moved(offset) for each in finder(text, rules)]


def _gaps(text: Text, walls: list[Found]) -> list[tuple[int, Text]]:
    if not walls:
        return [(0, text)]
    gaps = []
    begin = 0
    for each in walls:
        if each.start > begin:
            gaps.append((begin, _part(text, begin, each.start)))
        begin = each.end
    if begin < len(text.data):
        gaps.append((begin, _part(text, begin, len(text.data))))
    return gaps


def _part(text: Text, begin: int, end: int) -> Text:
    return Text(text.data[begin:end], text.source[begin : end + 1])


def _placed(found: Found, text: Text) -> Found:
    start, end = text.source[found.start], text.source[found.end]
    return Found(start, end, found.kind, found.form, found.value)


def _cut(text: Text, found: list[Found]) -> list[Found]:
    """Find the beginning of an address at the end of a line that was cut."""
    begin = max((each.end for each in found), default=0)
    match = _CUT.search(text.data, begin)
    if match is None or match.start() < begin:
        return []
    if b"." in match[0]:
        return [Found(*match.span(), "malformed", Form.MALFORMED_QUAD, b"")]
    if not _TWO_GROUPS.search(match[0]):
        return []
    return [Found(*match.span(), "malformed", Form.MALFORMED_GROUPS, b"")]
