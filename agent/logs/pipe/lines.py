"""Lines out of bytes: whole ones, none too long, and masked where they may be cut."""

from __future__ import annotations

LONGEST = 64 << 10
_LAST_WORDS = 4096
# Letters, digits and all bytes of other scripts: what is left are punctuation and blanks.
_BLUNT = bytes(
    ord("x") if 48 <= byte < 58 or 65 <= byte < 91 or 97 <= byte < 123 or byte > 127 else byte
    for byte in range(256)
)
CUT_MARK = b" [art32: cut here]"


def mask(text: bytes) -> bytes:
    """Return a text of which nothing can be read but its punctuation; lines stay lines."""
    return text.translate(_BLUNT)


def mask_last_word(line: bytes) -> bytes:
    """Given a line that was cut, without its newline, mask the word in which that happened.

    An address that has lost its end is no address to a scrubber, and tells most of itself.
    """
    start = line.rfind(b" ", max(0, len(line) - _LAST_WORDS)) + 1
    if not start:
        start = max(0, len(line) - _LAST_WORDS)
    return line[:start] + mask(line[start:])


def cut(line: bytes) -> bytes:
    """Return the head of a line that is too long, with a mark and without a newline."""
    return mask_last_word(line[:LONGEST]) + CUT_MARK


class Lines:
    """Collects what comes in pieces into whole lines of at most `LONGEST` bytes.

    `cut` counts the lines that were longer; what is beyond that length is thrown away.
    """

    def __init__(self) -> None:
        self.rest = b""
        self.cut = 0
        self._skipping = False

    def feed(self, data: bytes) -> bytes:
        """Return the whole lines up to here; what follows them is in `rest`."""
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return b""
            self._skipping = False
        if self.rest:
            data = self.rest + data
        end = data.rfind(b"\n") + 1
        block, self.rest = data[:end], data[end:]
        if len(block) > LONGEST:
            block = self._shortened(block)
        if len(self.rest) > LONGEST:
            block += self._cut(self.rest) + b"\n"
            self.rest, self._skipping = b"", True
        return block

    def end(self) -> bytes:
        """Return the line that has no newline because the stream is over."""
        rest, self.rest = self.rest, b""
        return rest + b"\n" if rest else b""

    def _cut(self, line: bytes) -> bytes:
        self.cut += 1
        return cut(line)

    def _shortened(self, block: bytes) -> bytes:
        lines = block.split(b"\n")
        if max(map(len, lines)) <= LONGEST:
            return block
        return b"\n".join(line if len(line) <= LONGEST else self._cut(line) for line in lines)
