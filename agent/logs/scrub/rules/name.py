"""Host names that hold an address: reverse pointers, and what access providers call their lines.

Whether the parts stand in their order or reversed is not known, so all of them go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.exemptions import FILE_TYPES, HEX_LABEL_SUFFIXES
from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.ipv4 import CHAIN, follows_product, is_octet
from agent.logs.scrub.text import Text

_POINTER = re.compile(rb"\.(?:in-addr|ip6)\.arpa(?![0-9A-Za-z_-])", re.IGNORECASE)
_LABEL = frozenset(b"0123456789ABCDEFabcdef")
_DASHED = re.compile(rb"(?<![0-9])(?<![0-9]-)[0-9]++(?:-[0-9]++){3,}")
_REST = re.compile(rb"[0-9A-Za-z_.-]*+")
_BEFORE = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.-")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HEX_LABEL = re.compile(
    rb"\.(?:" + b"|".join(map(re.escape, HEX_LABEL_SUFFIXES)) + rb")(?![0-9A-Za-z_-])",
    re.IGNORECASE,
)
_NIBBLES = 13  # fewer name a network of /48 or larger
_LONGEST_NAME = 255


def find_pointers(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield names below in-addr.arpa and ip6.arpa (RFC 1035, 3.5; RFC 3596, 2.5) as a whole."""
    if "name" in rules.leave:
        return
    data = text.data
    floor = 0
    for match in _POINTER.finditer(data):
        nibbles = match[0][1:4].lower() == b"ip6"
        start = match.start()
        labels = 0
        while True:
            label = start
            # a label is one nibble, or up to three decimal digits
            while (
                label > floor
                and start - label < (1 if nibbles else 3)
                and (data[label - 1] in _LABEL if nibbles else 0x30 <= data[label - 1] <= 0x39)
            ):
                label -= 1
            if label == start:
                start += labels > 0
                break
            labels += 1
            start = label
            if label == floor or data[label - 1] != 0x2E:
                break
            start -= 1
        if labels >= (_NIBBLES if nibbles else 4):
            floor = match.end()
            yield Found(start, floor, "name", Form.OPAQUE, data[start:floor].lower())


class _Names:
    """Tells of places in ascending order whether two labels follow, the last a top-level domain.

    Each run of a name's characters is looked at once.
    """

    def __init__(self, data: bytes, rules: Rules) -> None:
        self._data = data
        self._own = rules.own_names
        self._end = self._stripped = self._second = -1

    def holds(self, start: int, end: int) -> bool:
        """Whether the address from `start` to `end` stands in the name of a host."""
        if end > self._end or self._end < 0:
            self._look(end)
        return end <= self._second

    def is_own(self, start: int) -> bool:
        """Whether that name is this host's own."""
        begin = start
        while begin and start - begin <= _LONGEST_NAME and self._data[begin - 1] in _BEFORE:
            begin -= 1
        return self._data[begin : self._stripped].lower() in self._own

    def _look(self, position: int) -> None:
        match = _REST.match(self._data, position)
        assert match is not None
        self._end = match.end()
        name = match[0].rstrip(b"._-")
        self._stripped = position + len(name)
        last = name.rfind(b".")
        second = name.rfind(b".", 0, last) if last > 0 else -1
        top = name[last + 1 :]
        good = len(top) > 1 and _LETTERS.issuperset(top) and top.lower() not in FILE_TYPES
        self._second = position + second if second >= 0 and good else -1


def find_dashed(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield four or more octets with dashes between them in a host's name."""
    if "name" in rules.leave:
        return
    data = text.data
    names = _Names(data, rules)
    for match in _DASHED.finditer(data):
        start, end = match.span()
        if not names.holds(start, end):
            continue
        parts = match[0].split(b"-")
        first = len(parts) > 4 and start > 0 and data[start - 1] in _LETTERS  # ec2-203-0-113-77
        span = _octets(parts, start, int(first))
        if span is None:
            continue
        if names.is_own(start):
            yield wall(*span)
        else:
            yield Found(*span, "name", Form.DASHED, data[span[0] : span[1]])


def _octets(parts: list[bytes], start: int, first: int) -> tuple[int, int] | None:
    """Return where the first four or more octets in a row stand."""
    position = start + sum(len(part) + 1 for part in parts[:first])
    begin, count = position, 0
    for part in parts[first:]:
        if is_octet(part):
            count += 1
        elif count >= 4:
            break
        else:
            begin, count = position + len(part) + 1, 0
        position += len(part) + 1
    return (begin, position - 1) if count >= 4 else None


def find_dotted(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield four octets that begin a host's name of at least two more labels."""
    if "name" in rules.leave:
        return
    data = text.data
    names = _Names(data, rules)
    for match in CHAIN.finditer(data):
        start, end = match.span()
        parts = match[0].split(b".")
        if len(parts) != 4 or not all(map(is_octet, parts)):
            continue
        if not names.holds(start, end) or follows_product(data, start):
            continue
        if names.is_own(start):
            yield wall(start, end)
        else:
            yield Found(start, end, "name", Form.DOTTED, match[0])


def find_hex_labels(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield eight hexadecimal digits that end the first label below a listed provider's domain."""
    if "name" in rules.leave:
        return
    data = text.data
    for match in _HEX_LABEL.finditer(data):
        end = match.start()
        start = end - 8
        if start >= 0 and all(byte in _LABEL for byte in data[start:end]):
            yield Found(start, end, "name", Form.HEX_LABEL, data[start:end].lower())
