"""One log file that is followed: by its inode, whatever its name becomes.

The file stays open, so that its inode cannot be reused and what is written after a rename is still
read. What is in the checkpoint is an offset and a hash of the head, never a line.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.logs_scan import LogFormat

HEAD = 1024
BLOCK = 1 << 18


class NotFollowed(Exception):
    """A file that is not read; the text says why."""


@dataclass
class Tail:
    """`offset` is where the next unread line begins; `skipping` that it is inside a cut line."""

    path: Path
    format: LogFormat
    descriptor: int
    device: int
    inode: int
    segment: str
    offset: int = 0
    skipping: bool = False
    head_length: int = 0
    head_hash: str = ""
    quiet_since: float = 0.0
    _last_size: int = -1

    @staticmethod
    def open(path: Path, form: LogFormat) -> Tail:
        """Open a log at its beginning; raise FileNotFoundError or NotFollowed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            raise
        except OSError as error:
            link = path.is_symlink()
            raise NotFollowed("it is a symbolic link" if link else str(error.strerror)) from error
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            os.close(descriptor)
            raise NotFollowed("it is no regular file")
        segment = f"{path}:{secrets.token_hex(8)}"
        return Tail(path, form, descriptor, info.st_dev, info.st_ino, segment)

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode

    def close(self) -> None:
        os.close(self.descriptor)

    def state(self) -> dict[str, Any]:
        """Return what `resume` takes, as JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "device": self.device,
            "inode": self.inode,
            "segment": self.segment,
            "offset": self.offset,
            "skipping": self.skipping,
            "head_length": self.head_length,
            "head_hash": self.head_hash,
        }

    def resume(self, state: dict[str, Any]) -> bool:
        """Take up a state of this very file; False when it is another, or has been cut."""
        if (state["device"], state["inode"]) != self.identity:
            return False
        length, offset = int(state["head_length"]), int(state["offset"])
        size = os.fstat(self.descriptor).st_size
        if size < offset or (length and self._hash(length) != state["head_hash"]):
            return False
        self.segment = str(state["segment"])
        self.offset, self.skipping = offset, bool(state["skipping"])
        self.head_length, self.head_hash = length, str(state["head_hash"])
        return True

    def _hash(self, length: int) -> str:
        return hashlib.blake2s(os.pread(self.descriptor, length, 0)).hexdigest()

    def was_truncated(self) -> bool:
        """Whether the file is shorter than what was read, or begins with something else.

        A file that was cut and has grown again beyond the offset is known by its head.
        """
        size = os.fstat(self.descriptor).st_size
        if size == self._last_size:
            return False
        self._last_size = size
        return size < self.offset or (
            self.head_length > 0 and self._hash(self.head_length) != self.head_hash
        )

    def start_again(self) -> None:
        """Begin at the beginning, as another segment."""
        self.segment = f"{self.path}:{secrets.token_hex(8)}"
        self.offset, self.skipping = 0, False
        self.head_length, self.head_hash = 0, ""

    def blocks(self, *, last: bool = False) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, block) of whole unread lines; `offset` has moved on when a block comes.

        Of a line longer than a block only the beginning is yielded. `last`: nothing more will be
        written, so a line without its end is one too.
        """
        while chunk := os.pread(self.descriptor, BLOCK, self.offset):
            begin = 0
            if self.skipping:
                begin = chunk.find(b"\n") + 1
                self.skipping = not begin
                if self.skipping:
                    self._move(len(chunk))
                    continue
            end = chunk.rfind(b"\n") + 1
            if end <= begin:
                if len(chunk) == BLOCK and not begin:
                    end, self.skipping = len(chunk), True
                elif last and len(chunk) < BLOCK:
                    end = len(chunk)
                else:
                    end = begin
            if not end:
                break
            start = self.offset + begin
            self._move(end)
            if end > begin:
                yield start, chunk[begin:end]

    def _move(self, count: int) -> None:
        self.offset += count
        if self.head_length < HEAD:
            self.head_length = min(self.offset, HEAD)
            self.head_hash = self._hash(self.head_length)

    def is_copy_of(self, other: Tail) -> bool:
        """Whether it begins like another file that is followed."""
        return other.head_length > 0 and self._hash(other.head_length) == other.head_hash

    def has_more(self) -> bool:
        """Whether there is anything behind the offset."""
        return os.fstat(self.descriptor).st_size > self.offset
