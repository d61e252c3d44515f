"""Authorization, Cookie and their like, and what follows Basic or Bearer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.own import OWN, stays
from agent.logs.scrub.text import Text

# RFC 7235, token68: a digit or a capital after a small letter tells it from a word
_PATTERN = re.compile(
    rb"(?<![0-9A-Za-z])(?:"
    rb"(?:authorization|cookie|api-key|auth-token|csrf-token|xsrf-token|session-token)"
    rb"[\"']? ?[:=] *+[\"']?"
    rb"|(?:basic|bearer) ++([0-9A-Za-z+/._~-]{8,}+=*+))",
    re.IGNORECASE,
)
_VALUE_END = re.compile(rb"[\"\r]")
_CODED = re.compile(rb"[0-9]|[a-z][A-Z]")


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield the value of a header up to the quotation mark that ends it, or to the line's end."""
    if "credential" in rules.leave:
        return
    position = 0
    while (match := _PATTERN.search(text.data, position)) is not None:
        start, end = match.span(1)
        if start < 0:
            start, end = match.end(), _end(text, match.end())
        position = end
        if match[1] is not None:
            own = [
                wall(start + each.start(), start + each.end()) for each in OWN.finditer(match[1])
            ]
            yield from own
            if own or _CODED.search(match[1]) is None:
                continue
        value = text.data[start:end]
        if stays(value):
            if value:
                yield wall(start, end)
        else:
            yield Found(start, end, "credential", Form.OPAQUE, value)


def _end(text: Text, position: int) -> int:
    for match in _VALUE_END.finditer(text.data, position):
        if text.is_raw(match.start()):
            return match.start()
    return len(text.data)
