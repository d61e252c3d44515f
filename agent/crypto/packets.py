"""The frame of OpenPGP messages, read to see that what leaves is what it claims to be.

Only headers and key ids are looked at (RFC 4880 sections 4.2, 5.1, 5.3, 5.13); nothing is
decrypted. Every length is checked against the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PKESK = 1
SIGNATURE = 2
SKESK = 3
ONE_PASS_SIGNATURE = 4
LITERAL = 11
SEIPD = 18
_HEAD = 32


class MalformedError(ValueError):
    """The bytes are no well-formed sequence of packets."""


@dataclass(frozen=True)
class Packet:
    """A packet's tag and the first bytes of its body."""

    tag: int
    head: bytes


def packets(data: bytes | bytearray | memoryview) -> Iterator[Packet]:
    """Yield the packets of a binary message; raise MalformedError unless they fill it exactly."""
    view = memoryview(data)
    position = 0
    try:
        while position < len(view):
            first = view[position]
            if not first & 0x80:
                raise MalformedError("no packet header")
            if first & 0x40:
                tag = first & 0x3F
                head, position = _new_body(view, position + 1)
            else:
                tag = (first >> 2) & 0x0F
                head, position = _old_body(view, position + 1, first & 3)
            yield Packet(tag, head)
    except IndexError as error:
        raise MalformedError("a packet is cut") from error
    if position != len(view):
        raise MalformedError("a packet is longer than the message")


def _old_body(view: memoryview, position: int, kind: int) -> tuple[bytes, int]:
    if kind == 3:
        raise MalformedError("a packet of indeterminate length")
    size = 1 << kind
    if position + size > len(view):
        raise MalformedError("a packet is cut")
    length = int.from_bytes(view[position : position + size], "big")
    start = position + size
    return bytes(view[start : start + min(length, _HEAD)]), start + length


def _new_body(view: memoryview, position: int) -> tuple[bytes, int]:
    head = b""
    while True:
        octet = view[position]
        partial = 224 <= octet < 255
        if octet < 192:
            length, start = octet, position + 1
        elif octet < 224:
            length, start = ((octet - 192) << 8) + view[position + 1] + 192, position + 2
        elif partial:
            length, start = 1 << (octet & 0x1F), position + 1
        else:
            if position + 5 > len(view):
                raise MalformedError("a packet is cut")
            length, start = int.from_bytes(view[position + 1 : position + 5], "big"), position + 5
        if len(head) < _HEAD:
            head += bytes(view[start : start + min(length, _HEAD - len(head))])
        position = start + length
        if not partial:
            return head, position


def recipients_of(data: bytes | bytearray | memoryview) -> tuple[str, ...]:
    """Given a public-key encrypted message, return the key ids (16 hex digits) it is for.

    Raise MalformedError unless it is exactly a run of version 3 PKESKs and one integrity-protected
    data packet (SEIPD version 1): a passphrase, a hidden recipient or plaintext beside them is
    refused.
    """
    found = list(packets(data))
    if len(found) < 2 or found[-1].tag != SEIPD or found[-1].head[:1] != b"\x01":
        raise MalformedError("no integrity-protected encrypted data at the end")
    ids = []
    for packet in found[:-1]:
        if packet.tag != PKESK or packet.head[:1] != b"\x03" or len(packet.head) < 9:
            raise MalformedError("something beside the recipients' session keys")
        ids.append(packet.head[1:9].hex().upper())
    return tuple(ids)


def check_symmetric(data: bytes | bytearray | memoryview) -> None:
    """Raise MalformedError unless the message is one SKESK version 4 and one SEIPD version 1."""
    shape = [(packet.tag, packet.head[:1]) for packet in packets(data)]
    if shape != [(SKESK, b"\x04"), (SEIPD, b"\x01")]:
        raise MalformedError("not a symmetrically encrypted message")


def check_signed(data: bytes | bytearray | memoryview) -> None:
    """Raise MalformedError unless the message is one literal in one signature, not compressed."""
    shape = [packet.tag for packet in packets(data)]
    if shape != [ONE_PASS_SIGNATURE, LITERAL, SIGNATURE]:
        raise MalformedError("not one signed piece of data")
