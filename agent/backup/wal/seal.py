"""From a file of a write-ahead log to one object: `zstd`, then `gpg --sign --encrypt`.

With stock tools: `gpg --decrypt OBJECT | zstd --decompress >FILE`. Among what gpg says must be
GOODSIG or VALIDSIG of the host's key, and NOTATION_DATA with the place.
"""

from __future__ import annotations

from agent import compression
from agent.backup.identity import Writer
from agent.backup.wal.place import Place
from agent.crypto import sealed
from agent.memory import Buffer
from agent.store import Bytes

_LEAST = 1 << 12


def seal(writer: Writer, prefix: str, place: Place, content: Bytes) -> Buffer:
    """Return the object's bytes; `prefix` is the store's. Raise a key error when gpg refuses."""
    squeezed = compression.whole(content)
    source = Buffer(max(len(squeezed), _LEAST))
    source.append(memoryview(squeezed))
    target = Buffer(source.capacity + sealed.OVERHEAD)
    sealed.seal(
        writer.home,
        writer.signer.fingerprint,
        writer.recipients,
        place.label(prefix),
        source,
        target,
    )
    return target
