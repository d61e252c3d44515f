"""The packet reader: anything may be thrown at it, and only whole messages pass."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.crypto import packets
from agent.crypto.packets import MalformedError
from tests.fixtures.keys import Keys, gpg

KEY_ID = bytes.fromhex("0123456789ABCDEF")
SESSION_KEY = b"\x03" + KEY_ID + b"\x12" + bytes(20)
DATA = b"\x01" + bytes(60)


def old(tag: int, body: bytes, kind: int = 1) -> bytes:
    """A packet with the old header and a length of 1, 2 or 4 bytes."""
    return bytes([0x80 | tag << 2 | kind]) + len(body).to_bytes(1 << kind, "big") + body


def new(tag: int, body: bytes) -> bytes:
    """A packet with the new header and the shortest length."""
    count = len(body)
    if count < 192:
        length = bytes([count])
    elif count < 8384:
        length = bytes([((count - 192) >> 8) + 192, (count - 192) & 0xFF])
    else:
        length = b"\xff" + count.to_bytes(4, "big")
    return bytes([0xC0 | tag]) + length + body


def partial(tag: int, body: bytes, power: int) -> bytes:
    """A packet in pieces of 2**power bytes and a last one."""
    data, size = bytes([0xC0 | tag]), 1 << power
    while len(body) >= size:
        data += bytes([224 + power]) + body[:size]
        body = body[size:]
    return data + new(tag, body)[1:]


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes_are_packets_or_malformed(data: bytes) -> None:
    for read in (
        lambda: list(packets.packets(data)),
        lambda: packets.recipients_of(data),
        lambda: packets.check_symmetric(data),
    ):
        with contextlib.suppress(MalformedError):
            read()


@given(st.integers(0, 63), st.binary(max_size=20_000), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_every_form_of_length_gives_the_same_packet(tag: int, body: bytes, power: int) -> None:
    forms = [new(tag, body), partial(tag, body, power)]
    if tag < 16:
        forms += [old(tag, body, kind) for kind in (1, 2) if len(body) < 1 << (8 << kind)]
        forms += [old(tag, body, 0)] if len(body) < 256 else []
    for form in forms:
        (found,) = packets.packets(form)
        assert (found.tag, found.head) == (tag, body[:32])


@given(st.lists(st.tuples(st.integers(0, 15), st.binary(max_size=400)), max_size=6))
def test_packets_in_a_row_are_read_in_order(parts: list[tuple[int, bytes]]) -> None:
    data = b"".join(new(tag, body) if tag % 2 else old(tag, body) for tag, body in parts)
    assert [(found.tag, found.head) for found in packets.packets(data)] == [
        (tag, body[:32]) for tag, body in parts
    ]


WHOLE = [
    old(packets.PKESK, SESSION_KEY) + new(packets.SEIPD, DATA),
    new(packets.PKESK, SESSION_KEY) * 2 + partial(packets.SEIPD, DATA * 20, 9),
    new(packets.PKESK, SESSION_KEY) + new(packets.SEIPD, DATA * 200),
]


@pytest.mark.parametrize("message", WHOLE, ids=["old", "partial", "long"])
def test_a_message_cut_at_any_byte_or_longer_is_refused(message: bytes) -> None:
    assert set(packets.recipients_of(message)) == {KEY_ID.hex().upper()}
    for cut in range(len(message)):
        with pytest.raises(MalformedError):
            packets.recipients_of(message[:cut])
    for more in (b"\x00", b"x", b"\xff", message):
        with pytest.raises(MalformedError):
            packets.recipients_of(message + more)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        new(packets.SEIPD, DATA),
        new(packets.PKESK, SESSION_KEY),
        new(packets.SEIPD, DATA) + new(packets.PKESK, SESSION_KEY),
        new(packets.PKESK, SESSION_KEY) + new(packets.SEIPD, b"\x02" + DATA),
        new(packets.PKESK, SESSION_KEY) + new(packets.SEIPD, b""),
        new(packets.PKESK, SESSION_KEY) + new(9, DATA),
        new(packets.PKESK, SESSION_KEY) + new(20, DATA),
        new(packets.PKESK, SESSION_KEY) + new(11, DATA),
        new(packets.PKESK, b"\x06" + SESSION_KEY[1:]) + new(packets.SEIPD, DATA),
        new(packets.PKESK, b"\x03" + KEY_ID[:7]) + new(packets.SEIPD, DATA),
        new(packets.SKESK, b"\x04\x09") + new(packets.SEIPD, DATA),
        new(packets.PKESK, SESSION_KEY) + new(packets.SKESK, b"\x04") + new(packets.SEIPD, DATA),
        new(packets.PKESK, SESSION_KEY) + new(10, b"PGP") + new(packets.SEIPD, DATA),
        new(packets.PKESK, SESSION_KEY) + new(packets.SEIPD, DATA) + new(packets.SEIPD, DATA),
        b"\x87" + SESSION_KEY,
        b"-----BEGIN PGP MESSAGE-----",
    ],
    ids=range(17),
)
def test_what_is_no_message_to_recipients_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedError):
        packets.recipients_of(message)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_symmetric_message_has_exactly_two_packets(kind: type) -> None:
    message = new(packets.SKESK, b"\x04\x09\x03\x08") + new(packets.SEIPD, DATA)
    packets.check_symmetric(kind(message))
    for wrong in (
        b"",
        message * 2,
        message[:-1],
        message + b"\x00",
        new(packets.SKESK, b"\x05\x09") + new(packets.SEIPD, DATA),
        new(packets.SKESK, b"\x04\x09") * 2 + new(packets.SEIPD, DATA),
        new(packets.PKESK, SESSION_KEY) + message,
        new(packets.SKESK, b"\x04\x09") + new(9, DATA),
        new(11, DATA),
    ):
        with pytest.raises(MalformedError):
            packets.check_symmetric(kind(wrong))


@pytest.mark.parametrize("size", [0, 1, 100, 191, 192, 8383, 8384, 70_000, 300_000])
@pytest.mark.parametrize("stream", [True, False], ids=["from a pipe", "from a file"])
def test_what_gpg_writes_is_read(keys: Keys, size: int, stream: bool) -> None:
    path = keys.directory / f"plain-{size}"
    path.write_bytes(bytes(size))
    source = () if stream else (str(path),)
    common = ("--rfc4880", "-z", "0", "--trust-model", "always", "--output", "-")
    sealed = gpg(
        keys.restorer_home,
        *common,
        *("--recipient", keys.operations.fingerprint, "--recipient", keys.escrow.fingerprint),
        "--encrypt",
        *source,
        stdin=bytes(size) if stream else b"",
    )
    path.unlink()
    assert len(packets.recipients_of(sealed)) == 2
    with pytest.raises(MalformedError):
        packets.check_symmetric(sealed)
