"""Counts the rows in a MySQL or MariaDB dump as it passes.

Both dump programs escape every newline in a value (mysql_real_escape_string()), so a line's start
and `);` at its end are never part of a value. MariaDB writes a row a line, which is counted by
looking for line starts alone; MySQL writes all rows of a statement on one line, where the parts
outside quotes are looked at.
"""

from __future__ import annotations

import re

_NAME = rb"`((?:[^`]|``)*)`"
_HEAD = re.compile(rb"INSERT (?:IGNORE )?INTO " + _NAME + rb"(?: \([^\n]*?\))? VALUES(?=[\n ]\()")
_TABLE = re.compile(rb"LOCK TABLES " + _NAME + rb" WRITE;")
_HEAD_LIMIT = 1 << 20
_END = b");\n"


class RowCounter:
    """An observer of a dump; `rows` maps each table to its number of rows so far."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._buffer = b""
        self._table: str | None = None
        self._by_line = False
        self._quoted = False
        self._body = False

    def __call__(self, chunk: bytes) -> None:
        data = self._buffer + chunk if self._buffer else chunk
        position = 0
        while True:
            step = self._statement if self._table is None else self._values
            after = step(data, position)
            if after is None:
                break
            position = after
        self._buffer = data[position:] if self._table is None else self._rest(data, position)

    def _statement(self, data: bytes, position: int) -> int | None:
        """Take one line outside of values; return where the next begins, None when it is cut."""
        if data.startswith(b"INSERT ", position) and not self._body:
            match = _HEAD.match(data, position)
            if match is not None:
                self._table = _text(match[1])
                self.rows.setdefault(self._table, 0)
                self._by_line = data[match.end() : match.end() + 1] == b"\n"
                self._quoted = False
                return match.end()
            if len(data) - position < _HEAD_LIMIT and data.count(b"\n", position) < 2:
                return None
        end = data.find(b"\n", position)
        if end < 0:
            return None
        if data.startswith(b"DELIMITER ", position):
            self._body = data[position:end] != b"DELIMITER ;"
        elif not self._body and (match := _TABLE.match(data, position)):
            self.rows.setdefault(_text(match[1]), 0)
        return end + 1

    def _values(self, data: bytes, position: int) -> int | None:
        """Count the rows of a statement that ends in this piece; None when it does not."""
        end = data.find(_END, position)
        if end < 0:
            return None
        self._count(data, position, end + 1)
        self._table = None
        return end + len(_END)

    def _rest(self, data: bytes, position: int) -> bytes:
        """Count what is certain of a statement that goes on; return the bytes to look at again."""
        held = 2
        if not self._by_line:
            while held < len(data) - position and data[-held - 1 : -held] == b"\\":
                held += 1
        cut = max(position, len(data) - held)
        self._count(data, position, cut)
        return data[cut:]

    def _count(self, data: bytes, start: int, end: int) -> None:
        assert self._table is not None
        if self._by_line:
            # a row's newline may be the last byte of one piece, its parenthesis the first of the
            # next: one byte more is looked at, and that is why two are held back
            self.rows[self._table] += data.count(b"\n(", start, end + 1)
            return
        text = data[start:end]
        if b"\\" in text:
            text = text.replace(b"\\\\", b"").replace(b"\\'", b"")
        parts = text.split(b"'")
        self.rows[self._table] += b"".join(parts[self._quoted :: 2]).count(b"(")
        self._quoted ^= len(parts) % 2 == 0


def _text(name: bytes) -> str:
    return name.replace(b"``", b"`").decode("utf-8", "backslashreplace")
