"""Addresses that begin with the digits of what looks like an escape: `#10.0.0.1`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Found, Rules
from agent.logs.scrub.rules import ipv4
from agent.logs.scrub.text import Text

_DIGITS = re.compile(rb"(?<![0-9])[0-9]++(?=\.)")
_PART = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.:@-")


def find_literal(line: bytes, text: Text, rules: Rules) -> Iterator[Found]:
    """Yield them; where the escape means a letter, a digit or the like, it is one."""
    for index, byte in enumerate(text.data):
        start, end = text.source[index], text.source[index + 1]
        if end - start == 1 or byte in _PART or line[end : end + 1] != b".":
            continue
        digits = _DIGITS.search(line, start, end + 1)
        if digits is None or digits.end() != end:
            continue
        chain = ipv4.CHAIN.match(line, digits.start())
        if chain is None:
            continue
        part = Text(line[digits.start() : chain.end()], range(chain.end() - digits.start() + 1))
        for found in ipv4.find(part, rules):
            yield found.moved(digits.start())
