"""Whom a line accuses: IPv4 by address, IPv6 by /64, and never on the word of a stranger."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

_MAPPED = bytes(10) + b"\xff\xff"
_ALWAYS_EXEMPT = ("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10", "0.0.0.0/32", "::/128")


@lru_cache(16_384)
def key_of(text: bytes) -> bytes | None:
    """Return what is counted of an address: 4 bytes of IPv4, the first 8 of IPv6.

    An IPv4 address in IPv6 (`::ffff:203.0.113.7`) is the IPv4 address. None when it is no address.
    """
    try:
        plain = text.partition(b"%")[0].decode("ascii")
        if ":" not in plain:
            return socket.inet_pton(socket.AF_INET, plain)
        packed = socket.inet_pton(socket.AF_INET6, plain)
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed[:8]


def name_of(key: bytes) -> str:
    """Return a key as text: `203.0.113.7` or `2001:db8:1:2::/64`."""
    if len(key) == 4:
        return socket.inet_ntop(socket.AF_INET, key)
    return f"{socket.inet_ntop(socket.AF_INET6, key + bytes(8))}/64"


class Networks:
    """Networks of one's own, asked by key. An IPv6 key counts when any of its /64 is inside."""

    def __init__(self, networks: Iterable[str], *, always: bool = False) -> None:
        texts = [*networks, *(_ALWAYS_EXEMPT if always else ())]
        self._ranges: dict[int, list[tuple[int, int]]] = {4: [], 8: []}
        for network in map(ipaddress.ip_network, texts):
            shift = 0 if network.version == 4 else 64
            low, high = int(network.network_address), int(network.broadcast_address)
            self._ranges[4 if network.version == 4 else 8].append((low >> shift, high >> shift))
        self._empty = not texts

    def __bool__(self) -> bool:
        return not self._empty

    def hold(self, key: bytes) -> bool:
        """Whether a key of `key_of` lies in one of the networks."""
        if self._empty:
            return False
        number = int.from_bytes(key, "big")
        return any(low <= number <= high for low, high in self._ranges[len(key)])


def client(peer: bytes, forwarded: bytes, trusted: Networks) -> bytes | None:
    """Return the key of the client of a request; None when nobody can be accused.

    The peer itself, unless it is a trusted proxy: then the last address of X-Forwarded-For that is
    not a trusted proxy too. What stands before that one the client may have written.
    """
    key = key_of(peer)
    if key is None or not trusted.hold(key):
        return key
    for part in reversed(forwarded.split(b",")):
        hop = key_of(_bare(part.strip()))
        if hop is None:
            return None
        if not trusted.hold(hop):
            return hop
    return None


def _bare(text: bytes) -> bytes:
    """Return an address without brackets and port."""
    if text[:1] == b"[":
        return text[1:].partition(b"]")[0]
    return text.partition(b":")[0] if text.count(b":") == 1 else text
