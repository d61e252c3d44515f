"""E-mail addresses (RFC 5321, RFC 6531), as far as they can be told from other things with `@`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.logs.scrub.exemptions import FILE_TYPES, SERVICE_MAILBOXES
from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.text import Text

_LOCAL = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._%+-'")
_DOMAIN = re.compile(rb"[0-9A-Za-z\x80-\xff_-]++(?:\.[0-9A-Za-z\x80-\xff_-]++)*")
_LITERAL = re.compile(rb"\[(?:IPv6:)?[0-9A-Fa-f:.]{2,60}\]", re.IGNORECASE)
_TOP = re.compile(rb"[A-Za-z\x80-\xff]{2,}+|xn--[0-9A-Za-z-]+", re.IGNORECASE)


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield local part and domain; of a domain the longest part that ends like one."""
    if "email" in rules.leave:
        return
    data = text.data
    floor = 0
    at = data.find(b"@")
    while at >= 0:
        start = _local(data, floor, at)
        end = _domain(data, at + 1) if start < at else 0
        floor = at + 1
        if end:
            floor = end
            if data[start:at].lower() in SERVICE_MAILBOXES:
                yield wall(start, end)
            elif rules.email_domain:
                yield Found(start, at, "email", Form.OPAQUE, data[start:end].lower())
            else:
                yield Found(start, end, "email", Form.OPAQUE, data[start:end].lower())
        at = data.find(b"@", floor)


def _local(data: bytes, floor: int, at: int) -> int:
    start = at
    while start > floor and (data[start - 1] in _LOCAL or data[start - 1] >= 0x80):
        start -= 1
    while start < at and data[start] in b"'.":
        start += 1
    return start


def _domain(data: bytes, start: int) -> int:
    """Return where the domain ends, 0 where there is none."""
    literal = _LITERAL.match(data, start)
    if literal is not None:
        return literal.end()
    match = _DOMAIN.match(data, start)
    if match is None:
        return 0
    end = match.end()
    while (dot := data.rfind(b".", start, end)) >= 0:
        top = data[dot + 1 : end]
        if _TOP.fullmatch(top) and top.lower() not in FILE_TYPES:
            return end
        end = dot
    return 0
