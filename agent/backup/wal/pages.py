"""The headers of a segment's pages, by which it is seen that a file is what its name says.

XLogPageHeaderData and XLogLongPageHeaderData of src/include/access/xlog_internal.h, the same since
PostgreSQL 9.3: in the byte order of the machine, the first page with the longer one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from agent.backup.wal import names
from agent.backup.wal.names import Kind, Name
from agent.errors import Art32Error, Code

LONG_HEADER = struct.Struct("=HHIQI4xQII")  # magic, info, timeline, address, rest, system, sizes
_SHORT_HEADER = struct.Struct("=HHIQ")
_LONG = 0x0002


@dataclass(frozen=True)
class Header:
    """A segment's first header. `address` is the position at which it begins."""

    timeline: int
    address: int
    system_id: int
    segment_bytes: int
    page_bytes: int


def header(data: bytes | bytearray | memoryview) -> Header | None:
    """Return the header of a segment; None when these bytes begin with none."""
    if len(data) < LONG_HEADER.size:
        return None
    magic, info, timeline, address, _, system_id, segment_bytes, page_bytes = (
        LONG_HEADER.unpack_from(data)
    )
    if magic >> 8 != 0xD1 or not info & _LONG:
        return None
    if segment_bytes not in names.SEGMENT_BYTES or page_bytes not in (
        1 << n for n in range(10, 17)
    ):
        return None
    return Header(timeline, address, system_id, segment_bytes, page_bytes)


def check(data: bytes | bytearray | memoryview, name: Name, system_id: int) -> Header:
    """Return a segment's header; raise SOURCE_INCOMPLETE unless the bytes are those of the name.

    Every page says where it belongs: a file that PostgreSQL has begun to use again, as another
    segment, shows. In a partial segment what comes after its end may be anything.
    """
    found = header(data)
    if found is None:
        raise _wrong(name, "has no header of a segment")
    if found.system_id != system_id:
        raise _wrong(name, "is of another database cluster")
    if found.address != name.start(found.segment_bytes):
        raise _wrong(name, "holds another segment")
    # the first segment of a timeline begins with pages of its parent
    if found.timeline > name.timeline:
        raise _wrong(name, "is of a later timeline")
    if len(data) != found.segment_bytes:
        raise _wrong(name, f"has {len(data)} bytes in place of {found.segment_bytes}")
    if name.kind is Kind.SEGMENT:
        _check_pages(data, name, found)
    return found


def _check_pages(data: bytes | bytearray | memoryview, name: Name, found: Header) -> None:
    switched = False
    for offset in range(found.page_bytes, found.segment_bytes, found.page_bytes):
        address = _SHORT_HEADER.unpack_from(data, offset)[3]
        # after a switch PostgreSQL leaves pages without a header (CopyXLogRecordToWAL of xlog.c)
        switched = switched or address == 0
        if address != (0 if switched else found.address + offset):
            raise _wrong(name, f"has a page that is not its own, at {offset}")


def _wrong(name: Name, what: str) -> Art32Error:
    return Art32Error(
        Code.SOURCE_INCOMPLETE,
        f"`{name.text}` {what}",
        hint="pg_waldump reads it and says more; it stays in pg_wal and is tried again",
    )
