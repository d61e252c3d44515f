"""Addresses in every spelling, written from the RFCs and not from the grammar of the scrubber.

RFC 791 and 1123 (quads), RFC 4291 2.2 (three forms of IPv6), RFC 5952 (its canonical text), RFC
6052 (NAT64), RFC 3056 (6to4), RFC 4007 (zones), RFC 3986 (hosts and escapes), RFC 7239 (Forwarded),
and what daemons make of a header: nginx, Apache, HAProxy, rsyslog, JSON.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import open_scrubber

CANARY = 237  # 0xed: the last octet of every address, and of none of the others


def ipv4(source: random.Random) -> ipaddress.IPv4Address:
    """Return an address that no exemption spares."""
    octets = [source.randrange(1, 224), *(source.randrange(CANARY) for _ in range(2)), CANARY]
    return ipaddress.IPv4Address(bytes(octets))


def ipv6(source: random.Random) -> ipaddress.IPv6Address:
    """Return an address with the canary at its end and, often, rows of zeros."""
    groups = [source.choice((0, 0, 0xDB8, source.randrange(0x100) << 8)) for _ in range(7)]
    groups[0] = source.choice((0x2001, 0x2A01, 0x2002, 0xFE80, 0xFD00, 0x2600))
    text = ":".join(f"{group:x}" for group in (*groups, 0xAB00 | CANARY))
    assert str(ipaddress.IPv6Address(text)).endswith("ed")
    return ipaddress.IPv6Address(text)


def spell_ipv4(source: random.Random, address: ipaddress.IPv4Address) -> str:
    octets = str(address).split(".")
    mapped = f"::ffff:{address}"
    return source.choice(
        (
            str(address),
            ".".join(octet.zfill(3) for octet in octets),
            mapped,
            mapped.upper(),
            f"0:0:0:0:0:ffff:{address}",
            f"::ffff:{int(address) >> 16:x}:{int(address) & 0xFFFF:04x}",
            f"64:ff9b::{address}",
            f"[::ffff:{address}]",
        )
    )


def spell_ipv6(source: random.Random, address: ipaddress.IPv6Address) -> str:
    full = address.exploded
    groups = [group.lstrip("0") or "0" for group in full.split(":")]
    spelling = source.choice(
        (
            str(address),
            full,
            full.upper(),
            ":".join(groups),
            str(address).upper(),
            ":".join(groups[:6]) + f":{ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)}",
            f"[{address}]",
        )
    )
    if address.is_link_local and not spelling.endswith("]"):
        spelling += source.choice(("%eth0", "%25eth0", "%1"))
    return spelling


def _escaped(how: str, characters: str) -> Callable[[str], str]:
    return lambda text: "".join(how % ord(c) if c in characters else c for c in text)


ESCAPERS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: text,
    _escaped("%%%02X", ': "[]<>'),
    _escaped("%%%02x", ':."[] '),
    _escaped("%%25%02X", ': "[]'),
    _escaped("\\x%02X", '"\\'),  # nginx, Apache
    _escaped("\\u%04x", '":<>&'),  # JSON
    _escaped("#%02X", '"{|}#'),  # HAProxy
    _escaped("#%03o", "\t\n"),  # rsyslog
)
CONTEXTS = (
    '%s - - [24/Nov/2026:06:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "curl/8.5.0"',
    '10.0.0.0 - - [24/Nov/2026:06:00:00 +0000] "GET /whois/%s HTTP/1.1" 404 5 "-" "-"',
    '"%s, 192.0.2.0"',
    'for="%s";proto=https;by=192.0.2.0',
    "for=%s, for=unknown",
    "2026/11/24 06:00:00 [error] 7: *1 open() failed, client: %s, server: _",
    "[client %s] AH00128: File does not exist",
    "connect from unknown[%s]",
    "warning: hostname x.example does not resolve to address %s: Name or service not known",
    "rip=%s, lip=::, session=<x>",
    "Received disconnect from %s port 22:11: bye",
    '{"remote_addr":"%s","status":200}',
    "?ip=%s&x=1",
    "http://%s/x",
    'q="\t%s\n"',
    "<%s>",
    "a %s.",
    "%s|x",
    "(%s)",
    "key=%s;",
)
_IPV6_ONLY = ("[IPv6:%s]", "from:%s ok")


def lines(source: random.Random, count: int) -> list[bytes]:
    """Return so many lines with one address each."""
    result = []
    for _ in range(count):
        contexts: tuple[str, ...] = CONTEXTS
        if source.random() < 0.6:
            spelling = spell_ipv4(source, ipv4(source))
        else:
            spelling = spell_ipv6(source, ipv6(source))
            if not spelling.startswith("["):
                contexts += _IPV6_ONLY
        text = source.choice(contexts) % spelling
        escape = source.choice(ESCAPERS)
        result.append(escape(text).replace("\n", "").encode())
    return result


LEFT = re.compile(
    rb"(?<![0-9])237(?![0-9])|(?:\.|%(?:25)?2e)237|(?::|3a)[0-9a-f]{0,2}ed(?![0-9a-z])",
    re.IGNORECASE,
)


def left_over(count: int, seed: int, *, engine: str | None = None) -> list[bytes]:
    """Scrub so many generated lines and return those in which a canary is left."""
    source = random.Random(seed)
    scrubber = open_scrubber(Scrub(), engine=engine)
    left = []
    while count > 0:
        generated = lines(source, min(count, 5000))
        count -= len(generated)
        scrubbed = scrubber.scrub(b"\n".join(generated) + b"\n").split(b"\n")
        for before, after in zip(generated, scrubbed, strict=False):
            if LEFT.search(after):
                left.append(before)
    return left
