"""What a rule finds: a span of a line, its kind, and what its replacement is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from agent.logs.scrub.text import Text


class Form(Enum):
    """How something was written, and so how `truncate` writes it again."""

    QUAD = "203.0.113.77"
    DECIMAL = "3405803853, as the host of a URL"
    HEXADECIMAL = "0xCB00714D, as the host of a URL"
    MAPPED = "::ffff:203.0.113.77"
    GROUPS = "2001:db8::1"
    MALFORMED_QUAD = "22203.0.113.77"
    MALFORMED_GROUPS = "2001:db8::1::2"
    DOTTED = "203.0.113.77.static.example.net"
    DASHED = "203-0-113-77.static.example.net"
    HEX_LABEL = "p5B0A1C2D.dip0.t-ipconnect.de"
    MAC = "00:1a:2b:3c:4d:5e"
    OPAQUE = "anything else"
    EXEMPT = "an address that stays"
    WALL = "what art32 has put there before"


@dataclass(frozen=True)
class Found:
    """The bytes from `start` to `end`; `value` is canonical: the same for every spelling."""

    start: int
    end: int
    kind: str
    form: Form
    value: bytes

    def moved(self, offset: int) -> Found:
        return Found(self.start + offset, self.end + offset, self.kind, self.form, self.value)


@dataclass(frozen=True)
class Rules:
    """What of the settings the rules need."""

    ipv4_networks: tuple[IPv4Network, ...]
    ipv6_networks: tuple[IPv6Network, ...]
    own_names: frozenset[bytes]
    parameters: frozenset[bytes]
    path_prefixes: tuple[bytes, ...]
    email_domain: bool
    leave: frozenset[str]
    cut_length: int | None


Finder = Callable[[Text, Rules], Iterator[Found]]


def wall(start: int, end: int) -> Found:
    """Return a span that stays and that no later rule looks into."""
    return Found(start, end, "", Form.WALL, b"")
