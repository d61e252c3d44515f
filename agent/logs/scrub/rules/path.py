"""The segment of a path that follows a configured prefix: `/reset/TOKEN`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.own import stays
from agent.logs.scrub.text import Text

_ENDS = frozenset(b" \"'?&#/;<>)\t\r")


@lru_cache(maxsize=16)
def _pattern(prefixes: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(prefix) for prefix in sorted(prefixes, key=len)))


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield segments; what ends them must stand in the line as it is, not as an escape."""
    if "path" in rules.leave or not rules.path_prefixes:
        return
    pattern = _pattern(rules.path_prefixes)
    position = 0
    while (match := pattern.search(text.data, position)) is not None:
        # `/reset/confirm/TOKEN`: a prefix may begin with the slash that ends another
        while (longer := pattern.match(text.data, match.end() - 1)) is not None:
            match = longer
        start = end = match.end()
        while end < len(text.data) and not (text.data[end] in _ENDS and text.is_raw(end)):
            end += 1
        position = end
        value = text.data[start:end]
        if stays(value):
            if value:
                yield wall(start, end)
        else:
            yield Found(start, end, "path", Form.OPAQUE, value)
