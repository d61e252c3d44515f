"""Log files, compressed or not, as blocks of whole lines."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from agent.errors import Art32Error, Code

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 1 << 18
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class Readable(Protocol):
    """What has bytes to read."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def blocks(stream: Readable, *, size: int = BLOCK) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, block) of whole lines; the last may lack its line feed.

    Of a line longer than `size` only the beginning is yielded, as a block of its own: what follows
    must never be taken for the beginning of a line, which an attacker would then write.
    """
    offset = 0
    carried = b""
    skipping = False
    while chunk := stream.read(size):
        if skipping:
            end = chunk.find(b"\n") + 1
            offset += end or len(chunk)
            if not end:
                continue
            chunk, skipping = chunk[end:], False
        carried += chunk
        end = carried.rfind(b"\n") + 1
        if end:
            yield offset, carried[:end]
            offset += end
            carried = carried[end:]
        elif len(carried) >= size:
            yield offset, carried
            offset += len(carried)
            carried, skipping = b"", True
    if carried:
        yield offset, carried


def open_log(path: Path | None) -> Readable:
    """Return a log's plaintext; None is standard input. gzip and zstd are known by their magic.

    Raise SOURCE_MISSING or PERMISSION when the file cannot be opened.
    """
    raw: BinaryIO = sys.stdin.buffer
    if path is not None:
        try:
            raw = path.open("rb")
        except FileNotFoundError as error:
            raise Art32Error(Code.SOURCE_MISSING, f"there is no file `{path}`") from error
        except PermissionError as error:
            raise Art32Error(
                Code.PERMISSION,
                f"`{path}` may not be read",
                hint="run it as root, or add the user to the group `adm`",
            ) from error
        except OSError as error:
            raise Art32Error(
                Code.SOURCE_FAILED, f"`{path}` cannot be read: {error.strerror}"
            ) from error
    buffered = cast(io.BufferedReader, raw)
    try:
        magic = buffered.peek(4)[:4]
    except OSError as error:
        raise Art32Error(
            Code.SOURCE_FAILED, f"`{path or '-'}` cannot be read: {error.strerror}"
        ) from error
    if magic.startswith(_GZIP):
        return gzip.GzipFile(fileobj=buffered)
    if magic.startswith(_ZSTD):
        return zstd.ZstdFile(buffered)
    return buffered


def read(path: Path | None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, block) of a log; raise SOURCE_FAILED when it is damaged or unreadable."""
    name = path or "-"
    with contextlib.closing(open_log(path)) as stream:
        try:
            yield from blocks(stream)
        except (gzip.BadGzipFile, zlib.error, EOFError, zstd.ZstdError) as error:
            raise Art32Error(
                Code.SOURCE_FAILED, f"`{name}` is compressed and damaged or cut"
            ) from error
        except OSError as error:
            raise Art32Error(
                Code.SOURCE_FAILED, f"`{name}` cannot be read: {error.strerror or 'damaged'}"
            ) from error
