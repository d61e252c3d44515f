"""The user's name in the Common Log Format: `host ident user [day/month/year:...`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.own import stays
from agent.logs.scrub.text import Text

_DATE = re.compile(rb" \[[0-9]{2}/[A-Za-z]{3}/[0-9]{4}:")


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield what stands between the second blank and the date; the name may hold blanks."""
    # only where a line begins: the first stretch of its text
    if "user" in rules.leave or text.source[0] != 0:
        return
    first = text.data.find(b" ")
    second = text.data.find(b" ", first + 1)
    if first <= 0 or second < 0:
        return
    match = _DATE.search(text.data, second + 1)
    if match is None:
        return
    start, end = second + 1, match.start()
    if text.data.startswith(b"- ", start):  # Apache's vhost_combined has one field more
        start += 2
    value = text.data[start:end]
    if stays(value):
        if value:
            yield wall(start, end)
    elif start < end:
        yield Found(start, end, "user", Form.OPAQUE, value)
