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

    def readinto(self, memory: memoryview, /) -> int | None: ...

    def close(self) -> None: ...


def blocks(stream: Readable, *, size: int = BLOCK) -> Iterator[tuple[int, memoryview]]:
    """Yield (offset, block) of whole lines; the last may lack its line feed.

    A block is good until the next one is asked for. Of a line longer than `size` only the beginning
    is yielded, as a block of its own: what follows must never be taken for the beginning of a line,
    which an attacker would then write.
    """
    buffer = bytearray(2 * size)
    view = memoryview(buffer)
    offset = held = 0
    skipping = False
    while count := stream.readinto(view[held : held + size]):
        filled, begin = held + count, 0
        if skipping:
            begin = buffer.find(b"\n", 0, filled) + 1
            offset += begin or filled
            if not begin:
                continue
            skipping = False
        end = buffer.rfind(b"\n", max(begin, held), filled) + 1
        if not end and filled - begin >= size:
            end, skipping = filled, True
        if end:
            yield offset, view[begin:end]
            offset += end - begin
            begin = end
        held = filled - begin
        buffer[:held] = buffer[begin:filled]
    if held:
        yield offset, view[:held]


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


def read(path: Path | None) -> Iterator[tuple[int, memoryview]]:
    """Yield (offset, block) of a log, as `blocks` does.

    Raise SOURCE_FAILED when it is damaged or unreadable.
    """
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
