"""A line as it was meant: what daemons and browsers escape, undone, with the way back.

The rules look at the meaning (`\\x22203.0.113.77` begins with a quotation mark, not with digits);
what is replaced are the bytes it came from; all other bytes stay as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPE = re.compile(
    rb"%(?:25(?=[0-9A-Fa-f]{2}))*([0-9A-Fa-f]{2})"  # URL, however often encoded
    rb"|\\(?:x([0-9A-Fa-f]{2})"  # nginx, Apache
    rb"|u00([0-9A-Fa-f]{2})"  # JSON
    rb"|([0-3][0-7]{2})"  # OpenSSH, strvis(3)
    rb"|([abefnrtv\"'/\\]))"  # C, JSON
    rb"|#(?:(0[0-3][0-7])"  # rsyslog, octal control characters
    rb"|([01][0-9A-F]|2[23]|7[BCDF]|[89A-F][0-9A-F]))"  # HAProxy
)
_LETTERS = dict(zip(b"abefnrtv\"'/\\", b"\a\b\x1b\f\n\r\t\v\"'/\\", strict=True))


@dataclass(frozen=True)
class Text:
    """Decoded bytes; `source[i]` is where byte i begins in the line, with the end as last."""

    data: bytes
    source: Sequence[int]

    def is_raw(self, index: int) -> bool:
        """Whether the byte stands in the line as it is."""
        return self.source[index + 1] - self.source[index] == 1


def decode(line: bytes) -> Text:
    """Return a line with each escape as the one byte that it means.

    A decoded newline is a blank: nothing spans lines.
    """
    if b"%" not in line and b"\\" not in line and b"#" not in line:
        return Text(line, range(len(line) + 1))
    data = bytearray()
    source: list[int] = []
    end = 0
    for match in _ESCAPE.finditer(line):
        begin = match.start()
        data += line[end:begin]
        source.extend(range(end, begin))
        data.append(_meaning(match))
        source.append(begin)
        end = match.end()
    data += line[end:]
    source.extend(range(end, len(line) + 1))
    return Text(bytes(data), source)


def _meaning(match: re.Match[bytes]) -> int:
    index = match.lastindex
    assert index is not None
    text = match[index]
    value = _LETTERS[text[0]] if index == 5 else int(text, 8 if index in (4, 6) else 16)
    return 0x20 if value == 0x0A else value
