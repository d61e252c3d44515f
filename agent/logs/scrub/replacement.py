"""What stands in the place of what was found, by mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from socket import AF_INET6, inet_ntop

from agent.config.scrubbing import Settings
from agent.logs.scrub.found import Form, Found
from agent.logs.scrub.keys import PeriodKey
from agent.logs.scrub.rules import ipv6

NAMES = {"ipv4": b"ip4", "ipv6": b"ip6", "malformed": b"ip", "name": b"host"}
TOKEN_BYTES = 8
_SIX_TO_FOUR = b"\x20\x02"
_MAC_KEPT = 3  # pairs: the maker

Replace = Callable[[Found], bytes]


def replacer(settings: Settings, key: PeriodKey | None) -> Replace:
    """Return the function from what was found to what stands there instead."""
    if settings.mode == "truncate":
        return _truncator(*settings.prefixes)
    if settings.mode == "remove":
        return _removed
    if key is None:
        raise ValueError("pseudonyms need a key")
    return _pseudonymiser(key)


def _name(kind: str) -> bytes:
    return NAMES.get(kind) or kind.encode("ascii")


def _removed(found: Found) -> bytes:
    return _name(found.kind) + b"-removed"


def _pseudonymiser(key: PeriodKey) -> Replace:
    secret, key_id = key.secret, key.key_id.encode("ascii")

    def replace(found: Found) -> bytes:
        if found.kind == "malformed":
            return _removed(found)
        kind, value = ipv6.canonical(found)
        name = _name(kind)
        digest = hashlib.blake2s(value, key=secret, digest_size=TOKEN_BYTES, person=name[:8])
        return b"%s-%s-%s" % (name, key_id, digest.hexdigest().encode("ascii"))

    return replace


def _truncator(ipv4_prefix: int, ipv6_prefix: int) -> Replace:
    mask = (0xFFFFFFFF << (32 - ipv4_prefix)) & 0xFFFFFFFF

    def number(value: bytes) -> int:
        return int.from_bytes(value, "big") & mask

    def quad(value: bytes) -> bytes:
        return b"%d.%d.%d.%d" % tuple(number(value).to_bytes(4, "big"))

    def groups(found: Found) -> bytes:
        bits = ipv6_prefix
        if found.value[:2] == _SIX_TO_FOUR:  # RFC 3056: the IPv4 address follows
            bits = min(bits, 16 + ipv4_prefix)
        whole = int.from_bytes(found.value, "big") >> (128 - bits) << (128 - bits)
        return inet_ntop(AF_INET6, whole.to_bytes(16, "big")).encode("ascii")

    def replace(found: Found) -> bytes:
        match found.form:
            case Form.QUAD:
                return quad(found.value)
            case Form.MAPPED:
                return b"::ffff:" + quad(found.value)
            case Form.GROUPS:
                return groups(found)
            case Form.DECIMAL:
                return b"%d" % number(found.value)
            case Form.HEXADECIMAL:
                return b"0x%08x" % number(found.value)
            case Form.MALFORMED_QUAD | Form.DOTTED:
                return b"0.0.0.0"
            case Form.MALFORMED_GROUPS:
                return b"::"
            case Form.DASHED:
                return b"0-0-0-0"
            case Form.HEX_LABEL:
                return b"00000000"
            case Form.MAC:
                return _maker(found.value)
        return _removed(found)

    return replace


def _maker(text: bytes) -> bytes:
    """Return hardware addresses of which the maker's three pairs stay."""
    pairs = [text[index : index + 2] for index in range(0, len(text), 3)]
    length = 8 if len(pairs) == 8 else 6
    kept = (p if i % length < _MAC_KEPT else b"00" for i, p in enumerate(pairs))
    return text[2:3].join(kept)
