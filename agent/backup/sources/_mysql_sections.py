"""One table out of a MySQL or MariaDB dump, by the comments that head its sections."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.errors import Art32Error, Code

# A section begins with a comment between two empty ones; what follows the last section puts back
# the session's settings. A newline in a value or a comment's name is escaped by the dump program.
_BORDER = re.compile(rb"\n(?:--\n-- ([^\n]*)\n--\n|(?=/\*!40103 SET TIME_ZONE=@OLD_TIME_ZONE))")
_LONGEST = 4096


def one_table(stream: Iterator[bytes], table: str) -> Iterator[bytes]:
    """Yield of a dump what concerns one table, and the settings at its head and end.

    Raise TARGET_FAILED at the end when there was no such table.
    """
    name = b"`" + table.encode().replace(b"`", b"``") + b"`"
    # MariaDB and MySQL both write the name as an identifier, the older ones without doubling
    ours = {b"Table structure for table " + name, b"Dumping data for table " + name}
    kept, found, data = True, False, b""
    for chunk in stream:
        data += chunk
        position = 0
        for match in _BORDER.finditer(data):
            if kept:
                yield data[position : match.start() + 1]
            position = match.start() + 1
            title = match[1]
            kept = title is None or title in ours or not title.startswith(_SECTIONS)
            found = found or (title is not None and title in ours)
            if title is not None:
                position = match.end()
        cut = max(position, len(data) - _LONGEST)
        if kept:
            yield data[position:cut]
        data = data[cut:]
    if kept:
        yield data
    if not found:
        raise Art32Error(
            Code.TARGET_FAILED,
            f"the backup has no table `{table}`",
            hint="`art32 backup show ID --details` lists the tables",
        )


_SECTIONS = (
    *(b"Table structure", b"Dumping ", b"Temporary ", b"Final view", b"Sequence structure"),
    *(b"Current Database", b"Flush ", b"Position to start", b"GTID "),
)
