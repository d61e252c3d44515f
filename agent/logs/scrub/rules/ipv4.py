"""IPv4: four numbers with dots, and what is meant to be one (RFC 1123, 2.1; RFC 6943, 3.1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from ipaddress import IPv4Address

from agent.logs.scrub.exemptions import OID_ROOTS, PRODUCT_BOUNDARY, PRODUCTS
from agent.logs.scrub.found import Form, Found, Rules
from agent.logs.scrub.text import Text

CHAIN = re.compile(rb"(?<![0-9])(?<![0-9]\.)[0-9]++(?:\.[0-9]++){3,}")
_PRODUCT = re.compile(rb"[A-Za-z]+/\Z")
_LONGEST_PRODUCT = max(map(len, PRODUCTS)) + 1


class Verdict(Enum):
    ADDRESS = 1
    MALFORMED = 2
    NOTHING = 3


def judge(parts: list[bytes]) -> Verdict:
    """Say what numbers with dots between them are.

    Four octets are an address, also with a fifth number as port. Four of which the first or the
    last is too long are malformed: an address with something glued on. All else is none.
    """
    if len(parts) == 5:
        if not all(map(is_octet, parts[:4])) or len(parts[4]) > 5 or int(parts[4]) > 0xFFFF:
            return Verdict.NOTHING
        numbers = tuple(map(int, parts))
        if any(numbers[: len(root)] == root for root in OID_ROOTS):
            return Verdict.NOTHING
        return Verdict.ADDRESS
    if len(parts) != 4 or not (is_octet(parts[1]) and is_octet(parts[2])):
        return Verdict.NOTHING
    outer = (parts[0], parts[3])
    if all(map(is_octet, outer)):
        return Verdict.ADDRESS
    if all(is_octet(part) or len(part) > 3 for part in outer):
        return Verdict.MALFORMED
    return Verdict.NOTHING


def is_octet(part: bytes) -> bool:
    """Whether digits are a number up to 255, in at most three."""
    return len(part) <= 3 and int(part) <= 255


def is_exempt(address: bytes, rules: Rules) -> bool:
    """Whether the configuration spares the address, or it is N.0.0.0, which is no host."""
    if address[1:] == b"\0\0\0":
        return True
    return any(IPv4Address(address) in network for network in rules.ipv4_networks)


def follows_product(data: bytes, start: int) -> bool:
    """Whether what begins here is the version of a listed product."""
    if not start or data[start - 1] != 0x2F:
        return False
    match = _PRODUCT.search(data, max(0, start - _LONGEST_PRODUCT), start)
    if match is None or match[0][:-1] not in PRODUCTS:
        return False
    before = match.start()
    return before == 0 or data[before - 1] in PRODUCT_BOUNDARY


def find(text: Text, rules: Rules) -> Iterator[Found]:
    """Yield addresses, without the port behind a fifth dot, and what is malformed."""
    data = text.data
    for match in CHAIN.finditer(data):
        parts = match[0].split(b".")
        verdict = judge(parts)
        if verdict is Verdict.NOTHING:
            continue
        start, end = match.span()
        if len(parts) == 5:
            end -= len(parts[4]) + 1
        if follows_product(data, start):
            yield Found(start, end, "exempt", Form.EXEMPT, b"")
        elif verdict is Verdict.MALFORMED:
            yield Found(start, end, "malformed", Form.MALFORMED_QUAD, b"")
        else:
            address = bytes(map(int, parts[:4]))
            if is_exempt(address, rules):
                yield Found(start, end, "exempt", Form.EXEMPT, address)
            else:
                yield Found(start, end, "ipv4", Form.QUAD, address)
