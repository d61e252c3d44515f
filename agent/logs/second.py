"""The second scanner: looks for addresses in what the scrubber has put out, before it is shipped.

It shares nothing with the scrubber but the data of the exemptions: regular expressions that begin
with a literal find candidates (Python searches for a literal by memchr(3), so that a clean block
costs little), and the standard library's `ipaddress` judges them. A hit is an address whose host
part is not zero, or, where addresses are replaced or removed, any address at all. It is masked
bluntly and counted; the segment goes on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

_QUAD = rb"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
_NOT_ZERO = {
    24: rb"\.[0-9]{1,3}\.[0-9]{1,3}\.(?!0(?![0-9]))[0-9]",
    16: rb"\.[0-9]{1,3}\.(?!0\.0(?![0-9]))[0-9]{1,3}\.[0-9]",
}
_COLONS = rb":(?::|(?:[0-9A-Fa-f]{1,4}:){6})"
# what a cut to so many bits leaves nowhere: something behind `::`, or more groups before it
_COLONS_NOT_ZERO = {
    48: rb":(?::(?=[0-9A-Fa-f])|(?:[0-9A-Fa-f]{1,4}:){3}(?::|(?:[0-9A-Fa-f]{1,4}:){3}))",
    32: rb":(?::(?=[0-9A-Fa-f])|(?:[0-9A-Fa-f]{1,4}:){2}(?::|(?:[0-9A-Fa-f]{1,4}:){4}))",
}
_SIX_TO_FOUR = re.compile(rb"2002:[0-9A-Fa-f]{1,4}:")
_PERCENT_COLONS = re.compile(rb"%(?:25)*3[Aa][0-9A-Fa-f]{0,4}%(?:25)*3[Aa]")
_PERCENT_DOTS = re.compile(rb"%(?:25)*2[Ee][0-9]{1,3}%(?:25)*2[Ee][0-9]")
_BACKSLASH = re.compile(rb"\\(?:x|u00)(?:3[Aa]|2[Ee])[0-9A-Fa-f]{0,4}\\(?:x|u00)(?:3[Aa]|2[Ee])")
_NUMBER = rb"(0[xX][0-9A-Fa-f]{6,8}|[0-9]{8,10})(?=[/:?#\s\"])"
_AUTHORITIES = (re.compile(rb"//" + _NUMBER), re.compile(rb"@" + _NUMBER))
_ESCAPES = re.compile(rb"%(?:25)*([0-9A-Fa-f]{2})|\\(?:x|u00)([0-9A-Fa-f]{2})")
_DECIMAL = b"0123456789."
_GROUPS = b"0123456789abcdefABCDEF:."
_ESCAPED = _GROUPS + b"%\\xu"
_LETTERS = frozenset(b"ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_")
_REACH = 400  # no spelling of an address is longer
_BLUNT = bytes(character if character in b".:%\\/" else ord("x") for character in range(256))
_CACHE = 1 << 16
_NAT64 = int(ipaddress.IPv6Address("64:ff9b::")) >> 32
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Exemptions:
    """What is no hit although it is an address: data that the scrubber uses as well."""

    networks: tuple[Network, ...] = ()
    products: Collection[bytes] = frozenset()
    product_boundary: Collection[int] = frozenset()
    oid_roots: tuple[tuple[int, ...], ...] = ()


@dataclass
class Found:
    """How many lines went through, and in how many places an address was left."""

    lines: int = 0
    hits: int = 0

    @property
    def too_many(self) -> bool:
        """Whether it is more than one in 100,000 lines: the scrubber is not to be trusted then.

        One hit alone is always let pass: a short segment says nothing about a rate.
        """
        return self.hits > max(1, -(-self.lines // 100_000))


@dataclass
class SecondScanner:
    """Checks blocks of whole scrubbed lines.

    `prefixes` are the bits of IPv4 and IPv6 that may stay; None where no address may.
    """

    prefixes: tuple[int, int] | None
    exempt: Exemptions = field(default_factory=Exemptions)
    found: Found = field(default_factory=Found)

    def __post_init__(self) -> None:
        ipv4 = self.prefixes[0] if self.prefixes else None
        self._quad = re.compile(_NOT_ZERO.get(ipv4, _QUAD) if ipv4 is not None else _QUAD)
        ipv6 = self.prefixes[1] if self.prefixes else None
        colons = _COLONS if ipv6 is None else _COLONS_NOT_ZERO.get(ipv6, _COLONS)
        self._colons = re.compile(colons)
        self._judged: dict[tuple[str, bytes], bool] = {}

    def check(self, block: bytes) -> bytes:
        """Return the block; where an address was left, its digits are `x` now."""
        self.found.lines += block.count(b"\n") + (not block.endswith(b"\n") and block != b"")
        spans = sorted(set(self._spans(block)))
        if not spans:
            return block
        parts, done = [], 0
        for start, end in spans:
            if start < done:
                continue
            parts += [block[done:start], block[start:end].translate(_BLUNT)]
            done = end
            self.found.hits += 1
        return b"".join([*parts, block[done:]])

    def _spans(self, block: bytes) -> Iterator[tuple[int, int]]:
        for match in self._quad.finditer(block):
            start, end = _around(block, match.start(), match.end(), _DECIMAL)
            if block[start - 2 : start] == b"\\x" or block[start - 1 : start] == b"%":
                start += 2  # digits that belong to an escape: `\x22203.0.113.77`
            yield from self._quads(block, start, end)
        for match in self._colons.finditer(block):
            yield from self._colon_groups(block, match)
        if b"2002:" in block:
            for match in _SIX_TO_FOUR.finditer(block):
                yield from self._colon_groups(block, match)
        if b"%" in block or b"\\" in block:
            yield from self._escaped(block)
        for pattern in _AUTHORITIES:
            for match in pattern.finditer(block):
                if self._remembered(match[1], self._number):
                    yield match.span(1)

    def _colon_groups(self, block: bytes, match: re.Match[bytes]) -> Iterator[tuple[int, int]]:
        start, end = _around(block, match.start(), match.end(), _GROUPS)
        if block[start - 1 : start] == b"%":
            start += 2
        if start and block[start - 1] in _LETTERS:
            return  # `std::vector`
        if end < len(block) and block[end] in _LETTERS:
            return
        token = block[start:end].rstrip(b".")
        if self._remembered(token, self._groups):
            yield start, start + len(token)

    def _quads(self, block: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        token = block[start:end].rstrip(b".")
        lead = len(token) - len(token.lstrip(b"."))
        start, token = start + lead, token[lead:]
        if self._remembered(token, self._dotted) and not self._is_version(block, start):
            yield start, start + len(token)

    def _is_version(self, block: bytes, start: int) -> bool:
        """Whether `Name/` stands before it, with a name of the closed list."""
        if block[start - 1 : start] != b"/":
            return False
        before = block[max(0, start - 65) : start - 1]
        name = before[len(before.rstrip(_LETTER_BYTES)) :]
        at = start - 2 - len(name)
        return name in self.exempt.products and (
            at < 0 or block[at] in self.exempt.product_boundary or block[at] == 10
        )

    def _escaped(self, block: bytes) -> Iterator[tuple[int, int]]:
        for pattern in (_PERCENT_COLONS, _PERCENT_DOTS, _BACKSLASH):
            for match in pattern.finditer(block):
                start, end = _around(block, match.start(), match.end(), _ESCAPED)
                token = _ESCAPES.sub(_unescaped, block[start:end]).strip(b"%\\xu")
                dotted = token.strip(b".")
                if self._remembered(token, self._groups) or self._remembered(dotted, self._dotted):
                    yield start, end

    def _remembered(self, token: bytes, judge: Callable[[bytes], bool]) -> bool:
        key = (judge.__name__, token)
        known = self._judged.get(key)
        if known is None:
            if len(self._judged) >= _CACHE:
                self._judged.clear()
            known = self._judged[key] = judge(token)
        return known

    def _dotted(self, token: bytes) -> bool:
        parts = token.split(b".")
        if len(parts) not in (4, 5) or not all(1 <= len(part) <= 3 for part in parts[:4]):
            return False
        numbers = [int(part) for part in parts if part]
        if len(parts) == 5 and any(
            tuple(numbers[: len(root)]) == root for root in self.exempt.oid_roots
        ):
            return False
        if any(number > 255 for number in numbers[:4]):
            return False
        return self._is_hit4(int.from_bytes(bytes(numbers[:4]), "big"))

    def _number(self, token: bytes) -> bool:
        value = int(token, 16 if token[:2] in (b"0x", b"0X") else 10)
        return value < 1 << 32 and self._is_hit4(value)

    def _groups(self, token: bytes) -> bool:
        for text in _trimmed(token.decode()):
            try:
                return self._is_hit6(ipaddress.IPv6Address(text))
            except ValueError:
                continue
        return False

    def _is_hit4(self, value: int) -> bool:
        if value & 0xFFFFFF == 0:  # `120.0.0.0`: a frozen version, and no host
            return False
        if self.prefixes is not None and value & ((1 << (32 - self.prefixes[0])) - 1) == 0:
            return False
        return not self._is_exempt(ipaddress.IPv4Address(value))

    def _is_hit6(self, address: ipaddress.IPv6Address) -> bool:
        value = int(address)
        if value == 0:
            return False
        if address.ipv4_mapped is not None or value >> 32 == _NAT64:
            return self._is_hit4(value & 0xFFFFFFFF)
        if address.sixtofour is not None and value & ((1 << 80) - 1) == 0:
            return self._is_hit4(value >> 80 & 0xFFFFFFFF)
        if self.prefixes is not None and value & ((1 << (128 - self.prefixes[1])) - 1) == 0:
            return False
        return not self._is_exempt(address)

    def _is_exempt(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(
            address in network
            for network in self.exempt.networks
            if network.version == address.version
        )


_LETTER_BYTES = bytes(
    character for character in range(128) if chr(character).isalnum() or character == 0x2D
)


def _around(block: bytes, start: int, end: int, kind: bytes) -> tuple[int, int]:
    """Return the longest run of bytes of a kind that holds a span, within reach of it."""
    before = block[max(0, start - _REACH) : start]
    start -= len(before) - len(before.rstrip(kind))
    after = block[end : end + _REACH]
    return start, end + len(after) - len(after.lstrip(kind))


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1] or match[2], 16),))


def _trimmed(text: str) -> Iterable[str]:
    """Yield a run of groups, then without colons that belong to the sentence around it."""
    yield text
    if text.endswith(":") and not text.endswith("::"):
        yield text[:-1]
    if text.startswith(":") and not text.startswith("::"):
        yield text[1:]
        yield text[1:].rstrip(":")
