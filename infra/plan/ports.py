"""Sets of ports, as security groups, network ACLs and their intersections need them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_EVERY_PORT = (1 << 65536) - 1
_ANY_PROTOCOL = {"-1", "all"}
_NAMES = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmp", "icmpv6": "icmp"}


@dataclass(frozen=True, repr=False)
class Ports:
    """A set of (protocol, port): one bit for each port of TCP and UDP, one for all of ICMP and one
    for all other protocols. `&`, `|` and `-` are those of sets; an empty one is false.
    """

    tcp: int = 0
    udp: int = 0
    icmp: int = 0
    other: int = 0

    def __and__(self, more: Ports) -> Ports:
        return Ports(
            self.tcp & more.tcp, self.udp & more.udp, self.icmp & more.icmp, self.other & more.other
        )

    def __or__(self, more: Ports) -> Ports:
        return Ports(
            self.tcp | more.tcp, self.udp | more.udp, self.icmp | more.icmp, self.other | more.other
        )

    def __sub__(self, less: Ports) -> Ports:
        return Ports(
            self.tcp & ~less.tcp,
            self.udp & ~less.udp,
            self.icmp & ~less.icmp,
            self.other & ~less.other,
        )

    def __bool__(self) -> bool:
        return bool(self.tcp or self.udp or self.icmp or self.other)

    def __str__(self) -> str:
        """Return the set as people write it: `443`, `80, 443`, `udp 53`, `all`; TCP unnamed."""
        if self == EVERYTHING:
            return "all"
        words = [_span(*run) for run in _runs(self.tcp)]
        words += [f"udp {_span(*run)}" for run in _runs(self.udp)]
        if self.icmp:
            words.append("icmp")
        if self.other:
            words.append("other protocols")
        return ", ".join(words) or "none"

    __repr__ = __str__


NOTHING = Ports()
EVERYTHING = Ports(_EVERY_PORT, _EVERY_PORT, 1, 1)


def span(low: int, high: int) -> int:
    """Return the bits of the ports from `low` to `high`, both included."""
    return ((1 << (high - low + 1)) - 1) << low


def tcp(*ports: int) -> Ports:
    """Return a set of single TCP ports."""
    bits = 0
    for port in ports:
        bits |= 1 << port
    return Ports(tcp=bits)


def of_rule(protocol: Any, low: Any, high: Any) -> Ports:
    """Return the ports of an AWS rule: protocol by name or number, -1 for all, from and to port.

    Raises ValueError for ports that are no numbers from 0 to 65535.
    """
    name = str(protocol).lower()
    name = _NAMES.get(name, name)
    if name in _ANY_PROTOCOL:
        return EVERYTHING
    if name == "icmp":
        return Ports(icmp=1)
    if name not in ("tcp", "udp"):
        return Ports(other=1)
    first, last = (0, 65535) if low is None else (int(low), int(high if high is not None else low))
    if not 0 <= first <= last <= 65535:
        raise ValueError(f"ports {low} to {high}")
    return Ports(**{name: span(first, last)})


def ephemeral(low: int) -> Ports:
    """Return the ports that a client sends from and an answer goes to: `low` and everything above
    for a client of unknown kind, the kernel's range for Linux (`ip_local_port_range`).
    """
    bits = span(low, 60999 if low == LINUX else 65535)
    return Ports(tcp=bits, udp=bits)


LINUX = 32768
ANY_CLIENT = 1024


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    text = format(bits, "b")[::-1]
    for run in re.finditer("1+", text):
        yield run.start(), run.end() - 1


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}-{high}"
