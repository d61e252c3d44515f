"""From a file of a write-ahead log to one object: `zstd`, then `gpg --sign --encrypt`.

With stock tools: `gpg --decrypt OBJECT | zstd --decompress >FILE`. Among what gpg says must be
GOODSIG or VALIDSIG of the host's key, and NOTATION_DATA with the place.
"""

from __future__ import annotations

from agent import compression
from agent.backup.identity import Writer
from agent.backup.wal.place import Place
from agent.crypto import sealed
from agent.memory import Buffer, Room
from agent.store import Bytes


def seal(writer: Writer, prefix: str, place: Place, content: Bytes) -> Buffer:
    """Return the object's bytes; `prefix` is the store's. Raise a key error when gpg refuses."""
    return sign_and_encrypt(writer, prefix, place, compression.whole(content), Room())


def sign_and_encrypt(writer: Writer, prefix: str, place: Place, frame: bytes, room: Room) -> Buffer:
    """Return the object of a file that is compressed already, in a buffer of `room`; see `seal`."""
    source = room.take("frame", len(frame))
    source.append(memoryview(frame))
    target = room.take("object", source.capacity + sealed.OVERHEAD)
    sealed.seal(
        writer.home,
        writer.signer.fingerprint,
        writer.recipients,
        place.label(prefix),
        source,
        target,
        imported=writer.imported,
    )
    return target
