"""Hardware addresses (IEEE 802): six or eight pairs, and netfilter's `MAC=` of fourteen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Form, Found, Rules
from agent.logs.scrub.text import Text

_COLONS = re.compile(rb"(?<![0-9A-Fa-f:])[0-9A-Fa-f]*+(?::[0-9A-Fa-f]*+){5,}", re.DOTALL)
_DASHES = re.compile(rb"(?<![0-9A-Za-z_-])[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![0-9A-Za-z_-])")
_PAIRS = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")
_WORD = frozenset(b"GHIJKLMNOPQRSTUVWXYZghijklmnopqrstuvwxyz_")
_LENGTHS = {6: 6, 8: 8, 14: 12}  # pairs there, pairs that are addresses


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield runs of exactly so many pairs."""
    if "mac" in rules.leave:
        return
    data = text.data
    found: list[Found] = []
    for match in _COLONS.finditer(data):
        start, end = match.span()
        if start and data[start - 1] in _WORD:
            start = data.index(b":", start) + 1
        if end < len(data) and data[end] in _WORD:
            continue
        if data[end - 1] == 0x3A:
            end -= 1
        pairs = _PAIRS.fullmatch(data, start, end)
        count = _LENGTHS.get((end - start + 1) // 3) if pairs else None
        if count is not None:
            end = start + 3 * count - 1
            found.append(Found(start, end, "mac", Form.MAC, data[start:end]))
    for match in _DASHES.finditer(data):
        start, end = match.span()
        found.append(Found(start, end, "mac", Form.MAC, data[start:end]))
    free = 0
    for each in sorted(found, key=lambda each: each.start):
        if each.start >= free:  # a pair may end one and begin another
            free = each.end
            yield each
