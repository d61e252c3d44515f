"""Values of configured names: `name=value` in a query or anywhere else, `"name":"value"`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.own import stays
from agent.logs.scrub.text import Text

# The separator, and before it the name, perhaps the last in brackets: `user[email]=`
_NAME = re.compile(rb"(?<![0-9A-Za-z_-])([0-9A-Za-z_-]{1,64}+)(?:\]?=|\"(?=:)(: ?)(?=\"))")
_QUOTES = {ord('"'): ord('"'), ord("'"): ord("'"), ord("<"): ord(">")}
_ENDS = frozenset(b' "&;<>)]}|#\t\r')


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield values; what ends them must stand in the line as it is, not as an escape."""
    if "parameter" in rules.leave:
        return
    position = 0
    while (match := _NAME.search(text.data, position)) is not None:
        position = match.end()
        if match[1].lower() not in rules.parameters:
            continue
        start = match.end()
        if match[2] is not None and not text.is_raw(start):
            continue
        start, end = _value(text, start)
        value = text.data[start:end]
        if stays(value):
            if value:
                yield wall(start, end)
        else:
            yield Found(start, end, "parameter", Form.OPAQUE, value)
        position = max(end, position)


def _value(text: Text, start: int) -> tuple[int, int]:
    """Return where a value begins and ends."""
    data = text.data
    length = len(data)
    closing = _QUOTES.get(data[start]) if start < length and text.is_raw(start) else None
    if closing is not None:
        end = start + 1
        while end < length and not (data[end] in (closing, 0x0D) and text.is_raw(end)):
            end += 1
        return start + 1, end
    end = start
    while end < length:
        if text.is_raw(end):
            if data[end] in _ENDS:
                break
            if data[end] == 0x2C and (
                end + 1 == length or (data[end + 1] in b" \r" and text.is_raw(end + 1))
            ):
                break
        end += 1
    return start, end
