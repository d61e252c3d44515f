"""The specification as code: slow, linear, and what the kernel must agree with byte for byte."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from agent.config.scrubbing import Settings
from agent.logs.scrub import rules as order
from agent.logs.scrub.found import Finder, Form, Found, Rules
from agent.logs.scrub.keys import PeriodKey
from agent.logs.scrub.literal import find_literal
from agent.logs.scrub.replacement import replacer
from agent.logs.scrub.report import Report
from agent.logs.scrub.text import Text, decode

MOST_TURNS = 8
_SPARED = (Form.EXEMPT, Form.WALL)
_LEFT = frozenset(b" \"[(,;<=/'\t{|")
# perhaps a full stop, or a colon with or without a port, and then what ends a word
_RIGHT = re.compile(rb"(?:\.|:[0-9]{0,5}+)?(?:[ \"\])>,;/'\t}|&?\r]|\Z)")
# The colons of these, or of what stands there instead, may be part of something else: of `://`, of
# a date, or the separator behind what ends like a header's name. A zone may be any word.
_WITH_COLONS = (Form.GROUPS, Form.MALFORMED_GROUPS, Form.MAPPED)
_NAME_END = re.compile(rb"[neyNEY][\"']? ?\Z")
# The beginning of an address at the end of a line: two groups, or up to three numbers with dots.
_CUT_GROUPS = re.compile(rb"(?<![0-9A-Fa-f:])[0-9A-Fa-f:]*+\Z")
_CUT_QUAD = re.compile(rb"(?<![0-9.])[0-9]{1,3}\.(?:[0-9]{1,3}\.){0,2}[0-9]{0,3}\Z")
_TWO_GROUPS = re.compile(rb"[0-9A-Fa-f]:++[0-9A-Fa-f]")


class ReferenceScrubber:
    """Scrubs by the rules as they are written; see `agent.logs.scrub.Scrubber`."""

    engine = "reference"

    def __init__(self, settings: Settings, rules: Rules, key: PeriodKey | None) -> None:
        self.report = Report()
        self._rules = rules
        self._replace = replacer(settings, key)

    def scrub(self, block: bytes | memoryview) -> bytes:
        """Return a block of whole lines without what the rules find; count it in the report."""
        lines = bytes(block).split(b"\n")
        scrubbed = b"\n".join([self._line(line) for line in lines])
        self.report.lines += len(lines) - (lines[-1] == b"")
        self.report.bytes_in += len(block)
        self.report.bytes_out += len(scrubbed)
        return scrubbed

    view = scrub

    def _line(self, line: bytes) -> bytes:
        """Scrub a line until nothing changes.

        What stands apart is done at once. Where something glued to the next thing has gone, that
        thing may be another now, and is looked at again.
        """
        for turn in range(MOST_TURNS):
            found, apart = find(line, self._rules)
            pieces = []
            end = 0
            for each in found:
                new = b"" if each.form is Form.EXEMPT else self._replace(each)
                if not turn or (new and new != line[each.start : each.end]):
                    self.report.count(each.kind)
                if new:
                    pieces += [line[end : each.start], new]
                    end = each.end
            if not end:
                break
            pieces.append(line[end:])
            before, line = line, b"".join(pieces)
            if apart or line == before:
                break
        return line


def find(line: bytes, rules: Rules) -> tuple[list[Found], bool]:
    """Return what the rules find in one line, in its order, with places in the line itself.

    And whether all of it stands apart from what is around it.
    """
    text = decode(line)
    found = _apply(order.ORDER, text, rules)
    if rules.cut_length is not None and len(line) >= rules.cut_length:
        found += _cut(text, found)
    apart = _are_apart(text.data, found)
    if "credential" in rules.leave and any(each.kind == "email" for each in found):
        apart = False  # an authority without its `@` may be a number
    placed = [_placed(each, text) for each in found]
    if len(text.data) < len(line):
        starts = [each.start for each in placed]
        literal = [
            each
            for each in find_literal(line, text, rules)
            if not _overlaps(each, placed, bisect_left(starts, each.end))
        ]
        placed += literal
        apart = apart and not literal
    return sorted((each for each in placed if each.kind), key=lambda each: each.start), apart


def _overlaps(found: Found, others: list[Found], before: int) -> bool:
    """Whether one of the others, of which so many begin before its end, ends after its begin."""
    return before > 0 and others[before - 1].end > found.start


def _are_apart(data: bytes, found: list[Found]) -> bool:
    """Whether nothing can change its meaning because what was found has gone."""
    ends = {each.end for each in found}
    return all(
        (not each.start or data[each.start - 1] in _LEFT)
        and each.start not in ends
        and _RIGHT.match(data, each.end) is not None
        and not (each.form in _WITH_COLONS and _may_separate(data, each))
        for each in found
        if each.form not in _SPARED
    )


def _may_separate(data: bytes, found: Found) -> bool:
    start, end = found.start, found.end
    slash = data[start - 1 : start] == b"/" or data[end : end + 1] in (b"/", b":")
    if slash or b"%" in data[start:end]:
        return True
    return _NAME_END.search(data, max(0, start - 3), start) is not None


def _apply(finders: Iterable[Finder], text: Text, rules: Rules) -> list[Found]:
    found: list[Found] = []
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
    quad = _CUT_QUAD.search(text.data, max(begin, len(text.data) - 16))
    if quad is not None:
        return [Found(*quad.span(), "malformed", Form.MALFORMED_QUAD, b"")]
    groups = _CUT_GROUPS.search(text.data, begin)
    if groups is not None and _TWO_GROUPS.search(groups[0]):
        return [Found(*groups.span(), "malformed", Form.MALFORMED_GROUPS, b"")]
    return []
