"""What stands behind `://`: a user's name and password, and a host written as one number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.ipv4 import is_exempt
from agent.logs.scrub.rules.own import stays
from agent.logs.scrub.text import Text

_AUTHORITY = re.compile(rb"://([^/?#\s\"<>\\]*+)")
_NUMBER = re.compile(rb"(0[xX][0-9A-Fa-f]{1,8}|[0-9]{8,10})(?=:|\Z)")
_LEAST = 1 << 24  # below are the addresses of network 0, and port numbers


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield what stands before the last `@` (RFC 3986, 3.2.1), and a number as IPv4."""
    for match in _AUTHORITY.finditer(text.data):
        start, end = match.span(1)
        at = text.data.rfind(b"@", start, end)
        if at > start and "credential" not in rules.leave:
            value = text.data[start:at]
            if stays(value):
                yield wall(start, at)
            else:
                yield Found(start, at, "credential", Form.OPAQUE, value)
        number = _NUMBER.match(text.data[at + 1 if at >= 0 else start : end])
        if number is None:
            continue
        hexadecimal = number[1][:2] in (b"0x", b"0X")
        value_of = int(number[1], 16 if hexadecimal else 10)
        if not _LEAST <= value_of < 1 << 32:
            continue
        begin = at + 1 if at >= 0 else start
        address = value_of.to_bytes(4, "big")
        form = Form.HEXADECIMAL if hexadecimal else Form.DECIMAL
        if is_exempt(address, rules):
            yield Found(begin, begin + number.end(), "exempt", Form.EXEMPT, address)
        else:
            yield Found(begin, begin + number.end(), "ipv4", form, address)
