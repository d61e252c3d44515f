"""IPv6 in every spelling of RFC 4291, 2.2, with port, zone (RFC 4007) or dotted tail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address
from socket import AF_INET6, inet_pton

from agent.logs.scrub.found import Form, Found, Rules, wall
from agent.logs.scrub.rules.ipv4 import Verdict, is_exempt, judge
from agent.logs.scrub.text import Text

_RUN = re.compile(rb"(?<![0-9A-Fa-f:])[0-9A-Fa-f]*+(?::[0-9A-Fa-f]*+){2,}")
_GROUP = re.compile(rb"[0-9A-Fa-f]++")
_CHAIN = re.compile(rb"[0-9]++(?:\.[0-9]++)*")
_TAIL_DIGITS = re.compile(rb"[0-9]++\Z")
_ZONE = re.compile(rb"(?:%[0-9A-Za-z_-]++)+")
_DIGIT = re.compile(rb"[0-9]")
_WORD = frozenset(b"GHIJKLMNOPQRSTUVWXYZghijklmnopqrstuvwxyz_")
_MAPPED = bytes(10) + b"\xff\xff"
_NAT64 = b"\x00\x64\xff\x9b" + bytes(8)
_UNSPECIFIED = bytes(16)
_COLON = 0x3A
_LONGEST_GROUP = 8


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield addresses and what is malformed, from runs of hexadecimal digits and colons."""
    data = text.data
    floor = 0
    for match in _RUN.finditer(data):
        start, end = match.span()
        attached = False
        if start <= floor:
            start = floor  # the end of a dotted tail
        else:
            before = data[start - 1]
            attached = before in _WORD or (
                before == 0x2E and start - 2 >= floor and 0x30 <= data[start - 2] <= 0x39
            )
        while start < end:
            found = _first(data, start, end, attached, rules)
            if found is None:
                break
            yield found
            start = floor = found.end
            attached = False


def _first(data: bytes, start: int, end: int, attached: bool, rules: Rules) -> Found | None:
    """Return the address that a run begins with, if any."""
    if attached:  # what stands before the first colon is the end of a word
        start = data.find(b":", start, end)
        if start < 0:
            return None
    colons = start
    while colons < end and data[colons] == _COLON:
        colons += 1
    count = colons - start
    if count == 1 or (count == 2 and attached):  # `key:`, `Name::`
        start = colons
    elif count > 2 and attached:  # `IPv6:::1`
        start += 1
    tail = _tail(data, start, end)
    if isinstance(tail, Found):
        return _judge_exempt(tail, rules)
    return _parse(data, start, tail, end, rules)


def _tail(data: bytes, start: int, end: int) -> Found | int:
    """Look at a quad behind the run: return the address that ends with it, or where the run ends.

    What has the look of an address before the quad and makes none with it is malformed as a whole.
    """
    if end >= len(data) or data[end] != 0x2E:
        return end
    digits = _TAIL_DIGITS.search(data, start, end)
    if digits is None:
        return end
    chain = _CHAIN.match(data, digits.start())
    assert chain is not None
    parts = chain[0].split(b".")
    verdict = judge(parts)
    colon = data.rfind(b":", start, end)
    if verdict is Verdict.NOTHING or colon < 0:
        return end
    body = colon + (data[colon - 1] == _COLON and colon > start)
    if digits.start() > colon + 1:
        return body
    last = chain.end() - (len(parts[4]) + 1 if len(parts) == 5 else 0)
    if verdict is Verdict.ADDRESS:
        quad = b".".join(b"%d" % int(part) for part in parts[:4])
        packed = _packed(data[start : colon + 1] + quad)
        if packed is not None:
            return _address(start, last, packed)
    return _malformed(start, last) if _is_like(data[start:body]) else body


def _is_like(text: bytes) -> bool:
    """Whether text looks like an address: two colons, and `::` or eight groups of up to 8."""
    if text.count(b":") < 2:
        return False
    if b"::" in text:
        return True
    groups = _GROUP.findall(text)
    return len(groups) >= 8 and max(map(len, groups)) <= _LONGEST_GROUP


def _malformed(start: int, end: int) -> Found:
    return Found(start, end, "malformed", Form.MALFORMED_GROUPS, b"")


def _parse(data: bytes, start: int, body: int, end: int, rules: Rules) -> Found | None:
    text = data[start:body]
    if not _is_like(text):
        return None
    double = b"::" in text
    groups = _GROUP.findall(text)
    if not groups:
        return wall(start, body)
    if not double and len(groups) > 8 and all(len(group) == 2 for group in groups):
        return None  # a fingerprint
    if body == end < len(data) and data[end] in _WORD and double and text.count(b":") == 2:
        last = text[text.rindex(b":") + 1 :]
        if not last or not _DIGIT.match(last):
            return None  # `dead::beefy`, `1::bigint`
    length = _longest(text)
    if length:
        stop = start + length
        packed = _packed(text[:length])
        assert packed is not None
        if packed == _UNSPECIFIED and text[:length] == b"::":
            return wall(start, stop)
        if stop == end and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80:
            zone = _ZONE.match(data, end)
            if zone is not None:
                stop = zone.end()
        return _judge_exempt(_address(start, stop, packed), rules)
    if not _DIGIT.search(text):
        return None  # `A::b::c`
    return _malformed(start, body)


def _longest(text: bytes) -> int:
    """Return the length of the longest address that text begins with.

    0 unless nothing, a colon or a port follows.
    """
    position = count = best = 0
    double = False
    while position < len(text):
        group = _GROUP.match(text, position)
        if group is not None:
            if group.end() - position > 4:
                break
            count += 1
            position = group.end()
            if count > 8 or (double and count > 7):
                break
            if double or count == 8:
                best = position
        if text.startswith(b"::", position):
            if double or count > 7:
                break
            double = True
            position += 2
            if not _GROUP.match(text, position):
                best = position
                break
        elif position < len(text):
            position += 1
            if not _GROUP.match(text, position):
                break
    rest = text[best:]
    return best if best and _is_port(rest) else 0


def _is_port(rest: bytes) -> bool:
    number = rest.removeprefix(b":").removesuffix(b":")
    if rest in (b"", b":"):
        return True
    if rest[:1] != b":" or not number:
        return False
    return len(number) <= 5 and number.isdigit() and int(number) <= 0xFFFF


def _packed(text: bytes) -> bytes | None:
    try:
        return inet_pton(AF_INET6, text.decode("ascii"))
    except (OSError, ValueError):
        return None


def _address(start: int, end: int, packed: bytes) -> Found:
    if packed[:12] == _MAPPED:
        return Found(start, end, "ipv4", Form.MAPPED, packed[12:])
    return Found(start, end, "ipv6", Form.GROUPS, packed)


def _judge_exempt(found: Found, rules: Rules) -> Found:
    if found.kind == "malformed":
        return found
    if found.form is Form.MAPPED:
        exempt = is_exempt(found.value, rules)
    else:
        exempt = any(IPv6Address(found.value) in network for network in rules.ipv6_networks)
    if exempt:
        return Found(found.start, found.end, "exempt", Form.EXEMPT, found.value)
    return found


def canonical(found: Found) -> tuple[str, bytes]:
    """Return family and bytes under which a token is made: NAT64 (RFC 6052) is its IPv4."""
    if found.kind == "ipv6" and found.value[:12] == _NAT64:
        return "ipv4", found.value[12:]
    if found.kind == "mac":
        return found.kind, found.value.translate(None, b":-").lower()
    return found.kind, found.value
